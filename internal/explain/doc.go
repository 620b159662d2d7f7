// Package explain says what becomes of a command here, why, and what opens it; and what
// a library needs.
//
// It knows nothing of its own: the class of a command and its reason are package
// command's, what a policy opens is found by trying each of its words
// (engine.OpenersOf), the reasons stand in docs/decisions, and what a library sends was
// recorded from the library itself (test/libraries, libraries.tsv).
//
// Who calls it: cli for redoubt explain; cli and up hand [Opens] to the sidecar, which
// says it where it or the engine refuses a command.
//
// Tests hold it against the table of every command of real engines
// (internal/engine/testdata), and the record against the libraries.
package explain
