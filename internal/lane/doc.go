// Package lane keeps the books of one authenticated tunnel connection: which
// commands were sent for whom, and whose each reply is. A [Lane] is shared by many
// clients, a [Private] is one client's own.
//
// A Lane is a value without a socket or a goroutine. Its owner (the sidecar's
// event loop) appends commands with Send, writes what Flush returns, reads into
// what Buffer returns, and calls Received, which hands replies to the
// [Client]s that they belong to.
//
// What it guarantees, whatever the peer sends: no byte that belongs to one
// client reaches another, as long as the engine answers a command neither too
// often nor too seldom *and* makes up for it within the same batch (see "What a
// fence can't see" below). Replies come in the order of the commands, each
// once. Memory is bounded by MaxHeld. It never panics on a reply.
//
// # Fences
//
// A fence is an ECHO of a fresh random number among the commands. Its answer
// must stand exactly where the fence was; if it doesn't, the engine has sent a
// reply too many, too few, or torn, and every later one would go to the wrong
// client: the lane is at fault, and its owner closes it.
//
// What is sent in one go is a batch. A batch of several clients ends with a
// fence, and all its replies are held until the fence has been seen: only then
// is it known that each stands in its place. A batch of a single client, sent
// when nothing else is under way, begins with a fence instead; once that has
// been seen the replies pass as they come, since nothing of another client is
// sent until they have all come: nobody is left to cross with. As long as the
// same client goes on alone, no further fence is needed. So a lone client pays
// nothing, and large replies of a lone client are not held.
//
// While a script holds the engine it answers nothing but an error that says so, the
// fences neither. Such an answer vouches for nothing: what is held waits for another
// fence, unless all of it is that very error (docs/decisions/0139).
//
// What can't be held (MaxHeld) is dropped, the largest client's first: it alone is
// told of a failure.
//
// # What a fence can't see
//
// One command swallows the next one's reply, and a later one of the same batch
// emits one too many: the count is right again where the fence stands. It takes
// an injection; scripts, the only known road to one, are given lanes of their
// own by the sidecar. FencePerClient puts a fence behind each client's run of
// commands and closes that too, at a price (docs/performance.md).
//
// Tests drive it against an engine that is right, and one that doubles, drops,
// tears and injects replies at random, cut anywhere.
package lane
