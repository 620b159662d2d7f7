//go:build simulation

package lane

// firstRoom is little in a simulation: what is read is mostly small there, and larger
// replies have the buffer grow.
const firstRoom = 4 << 10
