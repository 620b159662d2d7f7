//go:build slow

package libraries_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// The table in docs/clients.md.

const clientsPage = "../../docs/clients.md"

const (
	tableBegins = "<!-- clients: begin -->\n"
	tableEnds   = "<!-- clients: end -->\n"
)

func writeTable(t *testing.T, all []pose, plain, ours [][]fate) {
	t.Helper()
	page, err := os.ReadFile(clientsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := bytes.Cut(page, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !begins || !ends {
		t.Fatalf("%s has no place for the table", clientsPage)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(tableBegins)
	b.WriteString("| library | state |")
	for _, f := range faults() {
		fmt.Fprintf(&b, " %s |", f.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(faults())) + "\n")
	for i, p := range all {
		fmt.Fprintf(&b, "| %s %s | %s |", p.library, p.versionOf(t), p.state)
		for n := range faults() {
			fmt.Fprintf(&b, " %s · %s |", plain[n][i].cell(), ours[n][i].cell())
		}
		b.WriteString("\n")
	}
	b.WriteString(tableEnds)
	b.Write(after)
	if err := os.WriteFile(clientsPage, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cell is a fate in the table: when it was back, rounded up so that the next run says
// the same, and what its application was told.
func (f fate) cell() string {
	s := "**" + f.how + "**"
	if f.how == "" {
		s = "30 s"
		for _, most := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second} {
			if f.back <= most {
				s = fmt.Sprintf("%.0f s", most.Seconds())
				break
			}
		}
	}
	told := map[string]bool{}
	for _, text := range f.saw {
		switch {
		case strings.Contains(text, "may or may not have run"):
			told["M"] = true
		case strings.Contains(text, "redoubt:"):
			told["L"] = true
		default:
			told["c"] = true
		}
	}
	for _, letter := range []string{"c", "L", "M"} {
		if told[letter] {
			s += " " + letter
		}
	}
	return s
}

// versionOf is the version of its library that is installed.
func (p pose) versionOf(t *testing.T) string {
	t.Helper()
	where := map[string]string{
		"redis-py": debian("python3-redis"), "rq": debian("python3-rq"), "celery": debian("python3-celery"), "redis-rb": debian("ruby-redis"), "sidekiq": debian("ruby-sidekiq"),
		"phpredis": debian("php-redis"), "predis": debian("php-nrk-predis"), "ioredis": npm("ioredis"), "node-redis": npm("redis"), "bullmq": npm("bullmq"),
		"go-redis": module("github.com/redis/go-redis/v9"), "rueidis": module("github.com/redis/rueidis"), "redigo": module("github.com/gomodule/redigo"),
		"asynq": module("github.com/hibiken/asynq"), "hiredis": debian("libhiredis-dev"),
	}
	return version(lab.Sure(t, exec.Command("bash", "-c", where[p.library])))
}
