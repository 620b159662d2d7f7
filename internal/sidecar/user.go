package sidecar

import (
	"bytes"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// nameTheUser writes the default user where an AUTH or HELLO has an empty name,
// and says whether it did. redis-cli up to 7.0 sends one for a URL without a
// user, redis://:PASSWORD@HOST, which is the form that REDIS_URL has; the engine
// would refuse it, since nobody is called so.
func nameTheUser(c *command.Command, args [][]byte) bool {
	user := -1
	switch {
	case c.Name == "auth" && len(args) == 3:
		user = 1
	case c.Name == "hello" && len(args) > 4 && bytes.EqualFold(args[2], []byte("AUTH")):
		user = 3
	}
	if user < 0 || len(args[user]) > 0 {
		return false
	}
	args[user] = []byte(defaultUser)
	return true
}
