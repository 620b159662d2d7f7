// Package explain says what opens a command that a policy closes.
//
// It knows nothing of its own: what a policy opens is found by trying each of its
// words (engine.OpenersOf).
//
// Who calls it: cli and up hand [Opens] to the sidecar, which says it where it or the
// engine refuses a command.
package explain
