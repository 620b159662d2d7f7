package sidecar

import (
	"errors"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// Every error text that an application can get from the sidecar itself. Where
// redis-server 7.0 has a text for the case it is used to the letter, since
// clients match it. Ours begin with a code that clients know, then "redoubt:".
const (
	errNoAuth       = "NOAUTH Authentication required."
	errHelloNoAuth  = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	errExecNoAuth   = "EXECABORT Transaction discarded because of: " + errNoAuth
	errMaxClients   = "ERR max number of clients reached"
	errSyntax       = "ERR syntax error"
	errClientName   = "ERR Client names cannot contain spaces, newlines or special characters."
	errNoCluster    = "ERR This instance has cluster support disabled"
	errBadClientID  = "ERR Invalid client ID"
	errProtocol     = "ERR Protocol error: "
	errLibraryValue = "ERR %s cannot contain spaces, newlines or special characters."

	// LOADING is what an engine says while it can't serve yet: the command has
	// not run, and client libraries that retry by themselves do so on it
	// (docs/decisions/0032).
	errAway        = "LOADING redoubt: the cache cannot be reached: the gateway does not answer"
	errCrowded     = "LOADING redoubt: too many passwords are being tried on this host"
	errAwayRefused = "LOADING redoubt: the cache cannot be reached: " // and the words of tunnel.Refusal

	// No client library may take this for safe to run again, hence ERR. The connection
	// stays; one that ends is closed without a word (docs/decisions/0166).
	errLost = "ERR redoubt: connection to the cache was lost; the command may or may not have run"

	// A reply that its batch can't hold is dropped for the others' sake.
	errTooLarge = "ERR redoubt: the command has run, but its reply is larger than what may be held for a connection that shares its lane; ask again, this connection gets a lane of its own"

	errInTransaction = "ERR redoubt: '%s' is answered by the sidecar and can't be part of a transaction"
	errRedirect      = "ERR redoubt: CLIENT TRACKING can't REDIRECT: client ids change, and what is sent to another connection could be somebody else's. With RESP3 (HELLO 3) invalidations come on the connection itself"
	errTooLong       = "ERR redoubt: the command is longer than the sidecar reads for what it answers itself"
	errUser          = "DENIED redoubt: your user may not use this port (see the sidecar's allowed uids)"
)

// notAllowed is redis-server 7.0's refusal by ACL; name as in the table.
func notAllowed(name string) string {
	return fmt.Sprintf("NOPERM this user has no permissions to run the '%s' command", name)
}

func wrongArity(name string) string {
	return fmt.Sprintf("ERR wrong number of arguments for '%s' command", name)
}

func inTransaction(name string) string { return fmt.Sprintf(errInTransaction, name) }

// errorReply is an error as it goes to the application.
func errorReply(text string) []byte { return resp.AppendError(nil, text) }

// Ends of a lane.
var (
	errLeft       = errors.New("the sidecar has gone on to another gateway")
	errStalled    = errors.New("the lane owes replies and has been silent too long")
	errUnreadable = errors.New("the engine sent a malformed reply")
	errQuiet      = errors.New("the engine said nothing after its application's end")
)
