// Package sidecar is the application's Redis: it listens on the application's
// host, understands RESP, and carries each application connection (a session)
// through a tunnel connection (a lane) to the engine.
//
// Who calls it: cli (redoubt sidecar, exec) and up. New opens the listeners,
// Run serves until its context ends.
//
// In this version each session has a lane for itself. So what an engine keeps
// for a connection (identity, database, MULTI, WATCH, subscriptions, tracking)
// is kept where it belongs, and nearly every command is forwarded in the bytes
// it came in. Lanes shared by many sessions are tested against this.
//
// What it guarantees:
//   - Replies come in the order of the commands, its own answers among them.
//   - Commands that could stop or poison the cache ([command.Command.Barred])
//     never leave it, in whatever case, form or place they come: they get
//     redis-server's NOPERM, and an open MULTI fails.
//   - It holds no password and no certificate of its own; no key, value,
//     argument or password is ever logged, nor a name that isn't in the table.
//   - Memory is bounded: small buffers each way, larger ones (64 KB, and for
//     commands that are looked at whole 160 KB) where much flows, whatever the
//     size of values and replies. A slow reader slows its own session.
//   - Nothing hangs: an unreachable cache is told within the dial's bound, a
//     lost lane at once, and a lane ends with its application, so that nothing
//     is popped for nobody.
//
// What it never does: run a command twice, pretend that the cache answered,
// listen beyond loopback without being told to.
//
// How a session goes: intake.go scans commands, state.go decides (values, no
// I/O), send.go sends or answers, delivery.go brings replies in the order that
// queue.go keeps. Where replies can't be counted any more (subscriptions,
// CLIENT REPLY, unknown commands) the session becomes a relay for the rest of
// its life; its commands are still scanned, so that what is barred stays so.
//
// Known limits, by design of this version: local answers end where a session
// becomes a relay. A session with more than 1,024 local answers waiting behind
// a blocked command isn't read, so its close is seen late. A CLIENT LIST sees
// this sidecar's sessions only.
//
// Tests compare with a direct connection to a real redis-server, byte for
// byte, scripted and at random; cut lanes, slow readers, 512 MB values and
// thousands of sessions; and try every barred command in every form.
package sidecar
