//go:build !sabotage

package engine

// sabotage does nothing. Only in builds for test/sabotage (tag sabotage) does it
// break one thing, to see that redoubt verify finds it.
func (e *Engine) sabotage() {}
