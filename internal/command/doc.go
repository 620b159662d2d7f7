// Package command says of each command of each engine how the sidecar treats
// it: the policy of the request's way, as a table that a reviewer can read.
//
// decisions.go is that table: every command by name, in groups that share a
// class and a reason. facts/ holds what the engines themselves say of their
// commands (name, arity, version, flags), one file an engine, written by
// go generate from COMMAND and COMMAND DOCS. A name that no decision knows is
// unknown, and unknown is [Pinned]: correct first, fast second. use.go says what
// follows for the sidecar: what is done with each on a shared lane and on a private
// one, and after which a connection may go back to a shared one. That is a list of
// what leaves nothing behind, so whatever is new stays.
//
// Who calls it: sidecar, for each command, through [Lookup], which ignores
// case and allocates nothing.
//
// It never looks at values, and of arguments only at those that change a
// command's nature ([Blocks]). What a user may do is the engine's ACL's
// business; [Command.Barred] is the short list that doesn't leave the sidecar
// even if an ACL were wrong.
//
// Tests: each decision names commands that exist, once; the engine at hand is
// asked for its COMMAND, and a name, arity or flag that differs from facts/
// fails the test, as does a command that nobody has decided about. What the
// engines' flags imply (blocking, subscribing) is held against the classes.
package command
