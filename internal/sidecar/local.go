package sidecar

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// The sidecar's own answers, in redis-server 7.0's form (docs/decisions/0030).
// They are made when their turn comes, so that all that earlier commands have
// changed is known.

// localAnswer makes the answer to a guest's command of which args are all arguments,
// when its turn comes.
func localAnswer(g *guest, c *command.Command, args [][]byte) func() []byte {
	if !c.WellFormed(len(args)) && c.Arity != unknownArity {
		return func() []byte { return errorReply(wrongArity(c.Name)) }
	}
	answer := answerTo(g, c, args)
	return func() []byte { return answer(&g.known) }
}

func answerTo(g *guest, c *command.Command, args [][]byte) func(*known) []byte {
	switch c.Name {
	case "acl|whoami":
		return func(k *known) []byte { return resp.AppendBulk(nil, k.user) }
	case "client|capa":
		return constant(okReply)
	case "client|id":
		return func(k *known) []byte { return resp.AppendInt(nil, k.id) }
	case "client|info":
		return func(k *known) []byte { return resp.AppendText(nil, k.protocol, g.line(c.Name)) }
	case "client|list":
		return clientList(g, c, args)
	case "client|maint_notifications": // the name as it was written, as redis-server does
		return constant(errorReply(fmt.Sprintf("ERR unknown subcommand '%.128s'. Try CLIENT HELP.", args[1])))
	case "client|no-evict":
		return noEvict(args)
	case "client|setinfo":
		return setInfo(args)
	case "config|get":
		return g.loop.car.configGet(args[2:])
	case "role":
		return constant([]byte("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"))
	}
	return constant(errorReply(errNoCluster)) // CLUSTER, READONLY, READWRITE, ASKING
}

// unknownArity is that of commands that no engine at hand has: any.
const unknownArity = -1

var okReply = resp.AppendSimple(nil, "OK")

func constant(reply []byte) func(*known) []byte {
	return func(*known) []byte { return reply }
}

// noEvict has no effect: the engine evicts no lane (maxmemory-clients 0).
func noEvict(args [][]byte) func(*known) []byte {
	if !isWord(args[2], "ON") && !isWord(args[2], "OFF") {
		return constant(errorReply(errSyntax))
	}
	return constant(okReply)
}

// setInfo keeps a client library's name, as redis-server 7.2 does.
func setInfo(args [][]byte) func(*known) []byte {
	attribute, value := strings.ToLower(string(args[2])), string(args[3])
	if attribute != "lib-name" && attribute != "lib-ver" {
		return constant(errorReply("ERR Unrecognized option '" + string(args[2]) + "'"))
	}
	// validateClientAttr of redis-server: only visible ASCII.
	if strings.ContainsFunc(value, func(r rune) bool { return r < '!' || r > '~' }) {
		return constant(errorReply(fmt.Sprintf(errLibraryValue, attribute)))
	}
	return func(k *known) []byte {
		if attribute == "lib-name" {
			k.library = value
		} else {
			k.libraryVer = value
		}
		return okReply
	}
}

// configGet answers from the settings that we know; patterns match within them, and
// what isn't among them doesn't exist.
func (c *Sidecar) configGet(patterns [][]byte) func(*known) []byte {
	var found []string
	settings := *c.settings.Load()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if slices.ContainsFunc(patterns, func(p []byte) bool { return matches(string(p), name) }) {
			found = append(found, name)
		}
	}
	return func(k *known) []byte {
		reply := resp.AppendMap(nil, k.protocol, len(found))
		for _, name := range found {
			reply = resp.AppendBulk(resp.AppendBulk(reply, name), settings[name])
		}
		return reply
	}
}

// matches is redis-server's glob on names without a slash.
func matches(pattern, name string) bool {
	hit, err := path.Match(strings.ToLower(pattern), name)
	return err == nil && hit
}

func isWord(arg []byte, word string) bool { return bytes.EqualFold(arg, []byte(word)) }
