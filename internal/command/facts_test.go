package command

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

var update = flag.Bool("update", false, "write what the engines say to facts/")

// TestFactsAreTheEngines asks the engine at hand about its commands. A name,
// arity, version or flag that facts/ has otherwise is an engine that nobody
// has looked at.
func TestFactsAreTheEngines(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", "port 0", "unixsocket "+socket, `save ""`)
	holdAgainst(t, "unix", socket)
}

// holdAgainst compares facts/ with what the engine at addr says, or writes it.
func holdAgainst(t *testing.T, network, addr string) {
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := questioner{t, conn, bufio.NewReader(conn)}
	name, said := q.engine(), q.facts()
	file := filepath.Join("facts", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(said), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: this engine was never recorded: go generate ./internal/command, then read what is new", err)
	}
	want, got := lines(string(recorded)), lines(said)
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("%s says %q, %s does not", name, l, file)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("%s says %q, %s does not", file, l, name)
		}
	}
	for _, f := range parseFacts(said) {
		if table[f.name] == nil {
			t.Errorf("%s has %s, which no decision names", name, f.name)
		}
	}
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// A questioner asks an engine and reads whole replies.
type questioner struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (q questioner) ask(words ...string) any {
	q.t.Helper()
	if _, err := io.WriteString(q.conn, strings.Join(words, " ")+"\r\n"); err != nil {
		q.t.Fatal(err)
	}
	return q.value()
}

// value reads one RESP2 reply: string, []any or nil.
func (q questioner) value() any {
	q.t.Helper()
	header, err := q.r.ReadString('\n')
	if err != nil {
		q.t.Fatal(err)
	}
	kind, text := header[0], strings.TrimRight(header[1:], "\r\n")
	n, _ := strconv.Atoi(text)
	switch {
	case kind == '-':
		q.t.Fatalf("the engine: %s", text)
	case kind == '$' && n >= 0:
		b := make([]byte, n+2)
		if _, err := io.ReadFull(q.r, b); err != nil {
			q.t.Fatal(err)
		}
		return string(b[:n])
	case kind == '*':
		list := []any{}
		for range n {
			list = append(list, q.value())
		}
		return list
	case kind == '$':
		return nil
	}
	return text
}

// engine is product and generation: "redis-7.0".
func (q questioner) engine() string {
	info := q.ask("INFO", "server").(string)
	for _, product := range []string{"valkey", "redis"} { // Valkey gives a redis_version too
		if _, rest, ok := strings.Cut(info, product+"_version:"); ok {
			parts := strings.Split(rest, ".")
			return product + "-" + parts[0] + "." + parts[1]
		}
	}
	q.t.Fatalf("no version in %q", info)
	return ""
}

// facts is the engine's commands as facts/ has them.
func (q questioner) facts() string {
	since := map[string]string{}
	q.versions(q.ask("COMMAND", "DOCS").([]any), "", since)
	var list []string
	var walk func(commands []any)
	walk = func(commands []any) {
		for _, c := range commands {
			c := c.([]any)
			var flags []string
			for _, f := range c[2].([]any) {
				flags = append(flags, f.(string))
			}
			slices.Sort(flags)
			var categories []string
			for _, category := range c[6].([]any) {
				categories = append(categories, category.(string))
			}
			slices.Sort(categories)
			name := strings.ToLower(c[0].(string)) // Redis 8.0 writes VADD and its like in capitals
			list = append(list, fmt.Sprintf("%s %s %s %s %s\n", name, c[1], cmpOr(since[name], "?"), cmpOr(strings.Join(flags, ","), "-"), cmpOr(strings.Join(categories, ","), "-")))
			walk(c[9].([]any))
		}
	}
	walk(q.ask("COMMAND").([]any))
	slices.Sort(list)
	return strings.Join(list, "")
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// versions finds "since" of each command and subcommand in COMMAND DOCS.
func (q questioner) versions(docs []any, parent string, since map[string]string) {
	for i := 0; i+1 < len(docs); i += 2 {
		name := strings.ToLower(docs[i].(string))
		if parent != "" && !strings.Contains(name, "|") {
			name = parent + "|" + name
		}
		about := docs[i+1].([]any)
		for j := 0; j+1 < len(about); j += 2 {
			switch about[j] {
			case "since":
				since[name] = about[j+1].(string)
			case "subcommands":
				q.versions(about[j+1].([]any), name, since)
			}
		}
	}
}
