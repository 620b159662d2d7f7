package sidecar

import (
	"bytes"
	"net"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// login authenticates a fresh lane and gives the engine's reply to HELLO.
//
// The default user's password has a user of its own in an engine of ours, with
// the same rights: a lane that is that user ends by itself when the password
// does, and no other lane with it (docs/decisions/0060). Where there is no such
// user the default one is tried.
func login(lane net.Conn, who credential, protocol int) (hello []byte, err error) {
	users := [][]byte{who.user}
	if len(who.user) == 0 || string(who.user) == defaultUser {
		users = [][]byte{[]byte(passwords.Of(who.password).User()), []byte(defaultUser)}
	}
	version := strconv.AppendInt(nil, int64(protocol), 10)
	for _, user := range users {
		hello, err = exchange(lane, resp.AppendCommand(nil, []byte("HELLO"), version, []byte("AUTH"), user, who.password))
		if err != nil || !bytes.HasPrefix(hello, []byte("-WRONGPASS ")) {
			break
		}
	}
	return hello, err
}
