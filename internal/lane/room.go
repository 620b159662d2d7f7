//go:build !simulation

package lane

// firstRoom is what a lane reads to at first: a reply of 64 KB in one piece.
const firstRoom = 66 << 10
