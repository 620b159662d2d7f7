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
	errAwayRefused = "LOADING redoubt: the cache cannot be reached: the gateway refuses this host"

	// No client library may take this for safe to run again, hence ERR.
	errLost = "ERR redoubt: connection to the cache was lost; the command may or may not have run"

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

// ErrRefused is what Options.Dial's error wraps if the gateway answered and
// wouldn't have us, as against not being reached at all.
var ErrRefused = errors.New("the gateway refuses this host")

// Ends of a session, none of which is a fault of ours. They are never shown.
var (
	errEnded      = errors.New("the application closed")
	errAppGone    = errors.New("the application is gone")
	errLaneGone   = errors.New("the lane ended")
	errFarewell   = errors.New("the application was told the end")
	errQuit       = errors.New("the application quits")
	errDraining   = errors.New("the sidecar drains")
	errReturns    = errors.New("the session goes back to the shared lane")
	errStalled    = errors.New("the lane owes replies and has been silent too long")
	errUnasked    = errors.New("the engine sent a reply that nothing asked for")
	errUnreadable = errors.New("the engine sent a malformed reply")
	errNotRefused = errors.New("the engine ran a command that must fail")
)
