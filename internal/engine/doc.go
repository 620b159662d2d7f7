// Package engine runs the cache itself: the system's own redis-server or
// valkey-server, locked down, as a supervised child of this process.
//
// # What it does
//
// New finds the binary and asks it for its version; Run renders a
// configuration and the users' rights for exactly that version, starts the
// engine in the sandbox (package sandbox), waits until it answers, watches it,
// restarts it when it dies or hangs, and stops it when the context ends. Dial
// gives a connection to its unix socket, which is the only way in.
//
//	e, err := engine.New(engine.Options{Passwords: digests.Good, Policy: engine.Policy{Uses: []engine.Use{engine.Cache}}})
//	err = e.Run(ctx, func() { … connections may come … })
//
// The gateway calls it, and so does verify, which reads Version and PID.
//
// # What it guarantees
//
//   - Configuration, rights and passwords reach the engine over stdin. They are
//     in no file, no argument list and no environment.
//   - The application's user has an allow-list of commands (policy.go, acl.go):
//     what an engine upgrade brings along stays shut until it is looked at.
//   - No user may change the configuration: CONFIG and ACL answer only to names
//     drawn at random at each start, and even under those nobody but the
//     supervisor's own user gets anything, and that user cannot set.
//   - The engine takes the passwords that are good now, and follows their change
//     within a second or two without a restart (users.go): who came with one
//     that has ended is out within seconds.
//   - Not a byte of the engine's output is passed on: values and arguments do
//     reach it (see output.go). Known messages become sentences of ours.
//   - The engine never outlives this process, not even when it is SIGKILLed:
//     the thread that started it is held for as long as it lives, and the
//     parent-death signal hangs on that thread.
//   - The run directory holds the socket and nothing else, and is searched for
//     anything else when the engine ends.
//
// # What it never does
//
// It never parses what applications send, never opens a network port, never
// keeps the data of an engine that died (a cache is refilled), never forks or
// patches the engine, and never starts one older than 7.0.
//
// # How it is tested
//
// Rendered text is compared with testdata/*.txtar, one file an engine version
// (go test -update writes them). Everything else runs on the real redis-server:
// every command of the engine against the committed table of who may run it,
// the attack list in every disguise, an engine with all its own doors opened
// that still can't reach a disk or a network, crashes, hangs and the death of
// the parent, each followed by a search for marked data.
package engine
