// Package eventloop is what a loop that owns many connections stands on: a
// poller, system calls that never sleep, and a connection that TLS can live on.
//
// The sidecar's and the gateway's data paths are one goroutine each that reads,
// computes and writes; this package has no policy of its own. The ways in:
// [Poller] tells which descriptors can go on; [Read], [Write] and [Accept] work
// on non-blocking descriptors without a word with Go's scheduler; a [Wire] is
// the net.Conn under a tls.Conn, blocking while TLS is set up in an ordinary
// goroutine, and the loop's own afterwards.
//
// It guarantees that no call but Wait sleeps, and that Wait ends when Wake is
// called. It starts no goroutine; the only thing that Wires share is a pool of
// empty buffers, so that one on which nothing moves holds none.
//
// It is for Linux (epoll); elsewhere NewPoller says so. Tests use real sockets.
package eventloop

// Token names a descriptor to the loop that added it: a place in the loop's own
// table and the generation of what stands there, so that a late event of a
// closed connection is not taken for its successor's.
type Token struct {
	Index      int32
	Generation int32
}

// wakeToken is the poller's own; an Event with it says that Wake was called.
var wakeToken = Token{Index: -1, Generation: -1}

// Woken says whether the token is that of Wake.
func (t Token) Woken() bool { return t == wakeToken }

// Event says that something may go on; the next system call tells whether.
// Readable is also true at an end or an error, which the read then returns.
type Event struct {
	Token              Token
	Readable, Writable bool
	// Ended says that nothing comes after what is there now: the peer ended its
	// side, or the connection is lost. A short read is then not the last one: the
	// end came with the bytes, in one event, and no other event will tell of it.
	Ended bool
}
