//go:build !sabotage && (amd64 || arm64)

package sandbox

// sabotaged leaves the steps as they are. Only in builds for test/sabotage (tag
// sabotage) is one left out, to see that redoubt verify finds it.
func (s *shim) sabotaged(steps []step) []step { return steps }

func ourselvesSabotaged() bool { return false }
