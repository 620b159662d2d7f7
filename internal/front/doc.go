// Package front is the part of a cache host that strangers talk to, as a process of its
// own, and its owner's end of it.
//
// The owner is the process that "redoubt gateway" or "redoubt up" was started as, the
// keeper: it has the engine, the certificates' files, the admin socket, and the listening
// socket. It calls New, which opens the port, and Run, which starts the front (package
// part) and starts another when it ends; engine and data stay. The front is a
// gateway.Gateway on what it is handed:
//
//   - at its start the listening socket, its settings, and its credentials, in memory;
//     each time one of these changes (Change, tunnel.Credentials), the new ones;
//   - a connection to the engine for each connection that it relays, which it asks for;
//   - a connection to what serves enrolment and renewal, if the CA is here: it ends TLS
//     and passes bytes. What is asked there proves itself (package enroll); where it
//     comes from is the front's word.
//
// All of that goes over one socket (message.go), which takes one message at a time.
//
// # What it guarantees
//
//   - A front that was taken over has the traffic that passes it, the passwords in that,
//     and the host's TLS key. It has no file, can make and connect no socket, and has no
//     more descriptors than its limits need (sandbox.Part). It has no way to the CA's
//     key, to the engine's memory or directory, or to the keeper's.
//   - What it says is bounded and strictly read; what is wrong in it ends it.
//   - An end of it loses the connections through it and nothing else. The keeper's end
//     ends it.
//
// # How it is tested
//
// The tests run a real front before a real engine with real TLS, kill it, stop it, and
// have a front that does what it is told try what a taken one would (taken_test.go).
package front
