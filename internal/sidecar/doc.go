// Package sidecar is the application's Redis: it listens on the application's
// host, understands RESP, and carries what applications say to the engine
// through the tunnel.
//
// Who calls it: cli (redoubt sidecar) and up. New opens the listeners, Run
// serves until its context ends.
//
// One event loop owns every application connection (a guest) and every lane (a
// tunnel connection with its books, package lane). A guest that has authenticated
// shares its lane with all others of the same credential, protocol and database; most
// do so for life. One that needs more (a transaction that comes in pieces, WATCH,
// blocking commands, subscriptions, scripts, tracking, large values, whatever isn't
// in the table of commands) gets a private lane, until it has not needed it for a
// while (docs/decisions/0041, 0137). There the engine keeps what belongs to a
// connection, and nearly every command passes in the bytes it came in. What each
// command does on either kind of lane says one table, in package command.
//
// What it guarantees:
//   - No reply reaches another connection than the one that asked: package lane
//     says how, and what remains.
//   - Replies come in the order of the commands, its own answers among them. A
//     guest changes lanes only when no reply is due to it.
//   - What comes over one connection is not overtaken, on its way to a private lane, by
//     what comes later over another of the same credential; nor is a subscription.
//     That takes others a round trip, and is bounded (order.go, docs/decisions/0163).
//   - Commands that could stop or poison the cache ([command.Command.Barred])
//     never leave it, in whatever case, form or place they come: they get
//     redis-server's NOPERM, and an open MULTI fails.
//   - Who has not authenticated costs the cache host nothing but the proof of a
//     password (docs/decisions/0140).
//   - The application's password is in memory only, for as long as somebody uses
//     it, since a new lane must prove it again; no key, value, argument or
//     password is ever logged, nor a name that isn't in the table.
//   - Memory is bounded, whatever the size of values and replies, and who doesn't
//     read slows nobody else: the engine keeps his replies, as it does for a
//     direct connection (docs/decisions/0138). What is kept for all who don't is
//     256 MB (Limits.Unread, docs/decisions/0165).
//   - No application connection sees the caches of two gateways: all lanes go to one
//     gateway at a time, and a step to another closes the connections of before
//     (route.go).
//   - Nothing hangs: an unreachable cache is told within the dial's bound, at
//     once while it is known to be away; a lost lane fails what was under way on
//     it, and guests that share one stay connected, unless they have used scripts. A
//     private lane and its guest end together, so that nothing is popped for nobody
//     and libraries connect again.
//
// What it never does: run a command twice, pretend that the cache answered,
// listen beyond loopback without being told to.
//
// Where to read: guest.go has the states and what always holds, loop.go a turn.
// shared.go, private.go and change.go are what commands come to: on a shared lane,
// on a private one, and where they change who asks (with all that a stranger says).
// replies.go is what comes back, link.go a lane's bytes, group.go how shared lanes
// come and go, own.go and standby.go how
// private ones do, order.go who waits for whom, route.go where
// lanes go, proof.go and stranger.go how a password is proved, end.go how a guest ends.
//
// Known limits: what is sent over a shared lane and not waited for may be overtaken by
// what comes later over a private one, and several event loops know nothing of each
// other's order. Answers of our own end where replies can't be counted any more
// (subscriptions with RESP2, CLIENT REPLY, commands that the engine knows and we don't);
// what is barred stays so. A guest
// with maxPlaces answers of ours waiting behind a blocked command isn't read, so its
// close may be seen late. CLIENT LIST sees this sidecar's connections only.
//
// Tests compare with a direct connection to a real redis-server, byte for byte,
// scripted and at random; put an engine in between that doubles, drops, tears
// and injects replies; cut lanes, read slowly, send 512 MB values; and try every
// barred command in every form.
package sidecar
