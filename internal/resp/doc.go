// Package resp finds frames in the Redis serialisation protocol and appends
// them. It is the only parser of RESP in Redoubt.
//
// A [CommandScanner] walks over what an application sends, a [ReplyScanner]
// over what an engine answers (RESP2 and RESP3). Both have three outcomes and
// never two: [Whole], [More] bytes are needed, [Malformed]. Both are
// resumable, so where a network cut the stream makes no difference, and both
// keep counters only: a value of 512 MB passes through without being held.
// What a scanner wants to see again it leaves unconsumed, at most
// [MaxInline]+2 bytes. Neither allocates, errors apart.
//
// Who calls it: sidecar (sessions, lanes), bench, and tests of either side.
// The gateway never does: a relay can't be fooled by a parser difference.
//
// What it guarantees: no input makes it panic, loop or allocate in proportion
// to a length that a peer only announced. Every command that it passes is
// read in the same way by redis-server. Where redis-server is lax (any two
// bytes may end a bulk or follow a carriage return) this package is strict,
// so that no two parsers on the way can disagree; everything else, the error
// texts included, is as redis-server 7.0 has it (networking.c,
// processInlineBuffer and processMultibulkBuffer; sds.c, sdssplitargs).
//
// What it never does: know what a command means (package command), read from
// a socket, keep bytes.
//
// Tests: fuzzed with the bytes that broke other parsers as seeds; properties
// (indifferent to cuts, scan(append(x)) = x, bounded, no allocation); and the
// error texts are compared with a redis-server, byte for byte.
package resp
