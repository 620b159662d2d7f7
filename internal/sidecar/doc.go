// Package sidecar is the application's Redis: it listens on the application's
// host, understands RESP, and carries what applications say to the engine
// through the tunnel.
//
// Who calls it: cli (redoubt sidecar) and up. New opens the listeners, Run
// serves until its context ends.
//
// An application connection begins as a guest: it shares a lane (one
// authenticated tunnel connection, package lane) with all others of the same
// credential, protocol and database. One event loop owns all guests and shared
// lanes; most applications are guests for life. A connection that needs more
// (a transaction that comes in pieces, WATCH, blocking commands, subscriptions,
// scripts, tracking, large values, whatever isn't in the table of commands)
// moves out: it becomes a session, with a lane for itself and goroutines of its
// own, until it has not needed it for a while (docs/decisions/0041). On its own lane the
// engine keeps what belongs to a connection, and nearly every command is
// forwarded in the bytes it came in.
//
// What it guarantees:
//   - No reply reaches another connection than the one that asked: package lane
//     says how, and what remains.
//   - Replies come in the order of the commands, its own answers among them. A
//     connection changes lanes only when nothing of its own is under way.
//   - Commands that could stop or poison the cache ([command.Command.Barred])
//     never leave it, in whatever case, form or place they come: they get
//     redis-server's NOPERM, and an open MULTI fails.
//   - The application's password is in memory only, for as long as somebody uses
//     it, since a new lane must prove it again; no key, value, argument or
//     password is ever logged, nor a name that isn't in the table.
//   - Memory is bounded, whatever the size of values and replies. An application
//     that doesn't read slows itself (a session) or is closed (a guest), and
//     nobody else.
//   - Nothing hangs: an unreachable cache is told within the dial's bound, at
//     once while it is known to be away; a lost lane fails what was under way on
//     it, and guests stay connected. A session's lane ends with its application,
//     so that nothing is popped for nobody.
//
// What it never does: run a command twice, pretend that the cache answered,
// listen beyond loopback without being told to.
//
// Where to read: loop.go and guest.go are the hot path, from socket to lane and
// back; special.go has the guests' other commands, group.go how lanes come and
// go, moveout.go the way to a session. A session: intake.go scans commands,
// state.go decides (values, no I/O), send.go sends or answers, delivery.go
// brings replies in the order that queue.go keeps. Where replies can't be
// counted any more (subscriptions, CLIENT REPLY, unknown commands) a session
// becomes a relay; its commands are still scanned, so that what is barred stays
// so.
//
// Known limits: local answers end where a session becomes a relay. A session
// with more than 1,024 local answers waiting behind a blocked command isn't
// read, so its close is seen late. CLIENT LIST sees this sidecar's connections
// only.
//
// Tests compare with a direct connection to a real redis-server, byte for byte,
// scripted and at random; put an engine in between that doubles, drops, tears
// and injects replies; cut lanes, read slowly, send 512 MB values; and try every
// barred command in every form.
package sidecar
