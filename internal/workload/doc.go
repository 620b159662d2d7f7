// Package workload brings a host's identity from a SPIFFE Workload API, such as
// that of a SPIRE agent, in place of files: the certificate, its key and the
// roots, anew each time that the agent renews one of them.
//
// The command line calls Load once, before a role starts, and runs Watch beside
// it. The API may hold several identities for one process; Load takes the one
// that the configuration names, and Watch never another.
//
// It guarantees that what the API says is verified by package tunnel as files
// would be, and that an API which is away, or hands over what could not work,
// leaves in force what was. It never asks for JWTs, never writes what it got
// anywhere, and never talks to anything but a unix socket: over TCP the API
// couldn't know who asks, nor the asker who answers.
//
// The client is SPIFFE's own, go-spiffe. It brings gRPC and protobuf into the
// process that holds the keys, so it is in builds with the tag "spiffe" only
// (make build TAGS=spiffe); docs/decisions/0067 says why. Without the tag Load
// is an error that says so.
//
// The tests hold it against an API that the test serves by go-spiffe's own gRPC
// definition, and test/spire against a real SPIRE server and agent.
package workload

import "errors"

// ErrAbsent: this build has no client.
var ErrAbsent = errors.New("this build has no SPIFFE Workload API (build with: make build TAGS=spiffe)")
