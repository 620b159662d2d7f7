package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	table "github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// Commands are attempted inside a transaction that is thrown away: whether a user
// may run one is decided when it is queued, and what is queued by mistake never
// runs (MULTI, DISCARD; redis.io/docs/latest/develop/using-commands/transactions).

var commandsAreRefused = Check{
	ID: "RD-503", Goal: evidence.NoChange, From: OnCache,
	Title:      "The engine refuses every command that the policy doesn't open, however it is written",
	Why:        "A single command too many (CONFIG, MODULE, DEBUG, REPLICAOF …) lets a client reconfigure, copy or take over the cache.",
	Mend:       "Restart the gateway, so that the engine's users are made anew. If the same command is open again, take it out of the policy (uses, allow), or report it with the engine's version.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.308(a)(4)", "NIST SP 800-53r5 CM-7", "NIST SP 800-53r5 AC-6", "NIST SP 800-53r5 CA-8"},
	Needs:      []Need{needEngine, needGuest},
	Run: attacking(func(c *conversation, a engine.Audit, n *Notes) Finding {
		refused := func(cmd command) bool { return !a.Policy.Opens(a.Version, cmd.name, cmd.categories) }
		return tryAll(n, c, refused)
	}),
}

var commandsAreRefusedToTheApplication = Check{
	ID: "RD-504", Goal: evidence.NoChange, From: OnApp,
	Title:      "The application is refused every command that no policy opens, through its own port",
	Why:        "What the application's host can send is what an intruder in the application can send.",
	Mend:       "Run redoubt verify on the cache host: RD-502 and RD-503 say which right is too much.",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 CM-7", "NIST SP 800-53r5 AC-6", "NIST SP 800-53r5 CA-8"},
	Needs:      []Need{needPassword},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		c, err := t.asApplication(ctx)
		if err != nil {
			return n.Skip("the cache doesn't answer the application at %s: %v", t.App.Listen, err)
		}
		defer c.close()
		v, err := versionOf(c)
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("what the sidecar answers itself never reaches the engine, and isn't tried (docs/decisions/0030)")
		open := engine.MostOpen()
		refused := func(cmd command) bool {
			return !open.Opens(v, cmd.name, cmd.categories) && !answeredBySidecar(cmd)
		}
		return tryAll(n, c, refused)
	},
}

func answeredBySidecar(cmd command) bool {
	name, sub, _ := strings.Cut(cmd.name, "|")
	known := table.Lookup([]byte(name), []byte(sub))
	return known != nil && known.Class == table.Local
}

// A command is a row of what COMMAND answers.
type command struct {
	name       string // config|get
	arity      int
	categories []string
}

// spellings are the ways in which one command reaches the engine's table.
var spellings = []struct {
	name  string
	write func(args []string) string
}{
	{"as RESP", func(args []string) string { return respCommand(args) }},
	{"in mixed case", func(args []string) string { return respCommand(mixedCase(args)) }},
	{"inline", func(args []string) string { return strings.Join(args, " ") + "\r\n" }},
}

// tryAll attempts every command that must be refused, in each spelling, and then
// over RESP3.
func tryAll(n *Notes, c *conversation, refused func(command) bool) Finding {
	all, err := commandsOf(c)
	if err != nil {
		return n.Fail("COMMAND, which says what there is, can't be read: %v", err)
	}
	var forbidden []command
	for _, cmd := range all {
		if refused(cmd) {
			forbidden = append(forbidden, cmd)
		}
	}
	named := len(forbidden)
	for _, cmd := range renamed {
		if refused(cmd) && !slices.ContainsFunc(forbidden, func(other command) bool { return other.name == cmd.name }) {
			forbidden = append(forbidden, cmd)
		}
	}
	n.Saw("COMMAND names %d commands and subcommands; to be refused: %d, and %d that it doesn't name", len(all), named, len(forbidden)-named)
	for _, protocol := range []string{"2", "3"} {
		if _, err := c.ask("HELLO", protocol); err != nil {
			return n.Fail("HELLO %s: %v", protocol, err)
		}
		for _, s := range spellings {
			answers, open, err := attempt(c, forbidden, s.write)
			if err != nil {
				return n.Fail("%s, over RESP%s: %v", s.name, protocol, err)
			}
			if len(open) > 0 {
				n.Saw("not refused %s, over RESP%s: %s", s.name, protocol, strings.Join(open, ", "))
				return n.Fail("not refused: %s", strings.Join(open, ", "))
			}
			n.Saw("%s, over RESP%s: %s", s.name, protocol, answers)
		}
	}
	return n.Pass("all %d are refused, each in %d ways", len(forbidden), 2*len(spellings))
}

// renamed are commands that COMMAND doesn't name where they are renamed away, and
// that must be refused all the same.
var renamed = []command{
	{"config|get", 3, nil}, {"config|set", -4, nil}, {"config|rewrite", 2, nil}, {"config|resetstat", 2, nil},
	{"acl|setuser", -3, nil}, {"acl|list", 2, nil}, {"acl|whoami", 2, nil}, {"module|list", 2, nil}, {"module|load", -3, nil},
	{"debug", -2, nil}, {"save", 1, nil}, {"bgsave", -1, nil}, {"bgrewriteaof", 1, nil}, {"shutdown", -1, nil},
	{"replicaof", 3, nil}, {"slaveof", 3, nil}, {"failover", -1, nil}, {"sync", 1, nil}, {"psync", -3, nil}, {"replconf", -1, nil},
	{"monitor", 1, nil}, {"cluster|nodes", 2, nil}, {"slowlog|get", -2, nil}, {"latency|latest", 2, nil}, {"swapdb", 3, nil}, {"flushall", -1, nil},
}

// ofTheConnection are commands that act on the connection at once, queued or not,
// and that every user may run.
var ofTheConnection = []string{"multi", "exec", "discard", "watch", "quit", "reset", "auth", "hello"}

// attempt queues each command and throws all of it away. open are those that were
// not refused; answers counts the refusals by kind.
func attempt(c *conversation, commands []command, write func([]string) string) (answers string, open []string, err error) {
	if reply, err := c.do("MULTI"); err != nil || reply != "+OK" {
		return "", nil, fmt.Errorf("MULTI: %s %w", code(reply), err)
	}
	count := map[string]int{}
	for _, cmd := range commands {
		reply, err := c.raw(write(cmd.args()))
		if err != nil {
			return "", nil, fmt.Errorf("%s: the connection ended: %w", cmd.name, err)
		}
		kind := refusal(reply)
		if kind == "" {
			open = append(open, cmd.name)
			continue
		}
		count[kind]++
	}
	if reply, err := c.do("DISCARD"); err != nil || reply != "+OK" {
		return "", nil, fmt.Errorf("DISCARD: %s %w", code(reply), err)
	}
	var counts []string
	for kind, times := range count {
		counts = append(counts, fmt.Sprintf("%s %d times", kind, times))
	}
	slices.Sort(counts)
	return strings.Join(counts, ", "), open, nil
}

// refusal names the kind of a refusal; "" for a reply that is none. A key that isn't
// the user's own is no refusal of the command.
func refusal(reply string) string {
	switch {
	case strings.HasPrefix(reply, "-NOPERM") && !strings.Contains(reply, "access a key") && !strings.Contains(reply, "access one of the keys"):
		return "NOPERM"
	case strings.HasPrefix(reply, "-ERR unknown command"), strings.HasPrefix(reply, "-ERR unknown subcommand"):
		return "unknown command"
	case strings.HasPrefix(reply, "-ERR Command not allowed inside a transaction"):
		return "not in a transaction"
	}
	return ""
}

// args is the command with as many arguments as it wants at least.
func (cmd command) args() []string {
	args := strings.Split(cmd.name, "|")
	least := max(cmd.arity, -cmd.arity)
	for len(args) < least {
		args = append(args, engine.GuestPrefix+"x")
	}
	return args
}

func mixedCase(args []string) []string {
	mixed := slices.Clone(args)
	mixed[0] = strings.ToUpper(mixed[0][:1]) + strings.ToLower(mixed[0][1:len(mixed[0])-1]) + strings.ToUpper(mixed[0][len(mixed[0])-1:])
	return mixed
}

// commandsOf asks for every command and subcommand.
func commandsOf(c *conversation) (all []command, err error) {
	v, err := c.ask("COMMAND")
	if err != nil {
		return nil, err
	}
	rows, ok := v.([]any)
	if !ok || len(rows) == 0 {
		return nil, fmt.Errorf("it answers %s", code(text(v)))
	}
	for _, row := range rows {
		all = append(all, readCommand(row)...)
	}
	return slices.DeleteFunc(all, func(cmd command) bool { return slices.Contains(ofTheConnection, cmd.name) }), nil
}

// readCommand reads a row (redis.io/docs/latest/commands/command): name, arity,
// flags, three positions of keys, ACL categories, tips, key specifications,
// subcommands. Of a command with subcommands only those can be run.
func readCommand(row any) (list []command) {
	fields, ok := row.([]any)
	if !ok || len(fields) < 7 {
		return nil
	}
	cmd := command{name: strings.ToLower(strings.TrimPrefix(text(fields[0]), "$"))}
	fmt.Sscanf(text(fields[1]), ":%d", &cmd.arity)
	categories, _ := fields[6].([]any)
	for _, category := range categories {
		cmd.categories = append(cmd.categories, text(category)[1:])
	}
	if len(fields) > 9 {
		subcommands, _ := fields[9].([]any)
		for _, sub := range subcommands {
			list = append(list, readCommand(sub)...)
		}
	}
	if len(list) > 0 {
		return list
	}
	return []command{cmd}
}
