//go:build !simulation

package sidecar

const (
	// bulkyReply is a reply large enough that its guest had better not share: others
	// would wait for it.
	bulkyReply = 256 << 10
	// unreadShared is what a guest may leave unread and still be read on a shared
	// lane; with more it gets a private one.
	unreadShared = 1 << 20
	// unreadPrivate is how much is kept for a guest before its private lane isn't
	// read any more: the engine keeps the rest, as it does for a direct connection.
	unreadPrivate = 256 << 10
	// seizeAt is how much of a reply that passes as it comes, since its guest has the
	// shared lane alone, is kept. One that reads more slowly gets the lane for itself,
	// and the others a fresh one.
	seizeAt = 4 << 20
)
