package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// locked is the part of the locked engine that local answers stand in for.
var locked = []string{`rename-command CONFIG ""`, `rename-command ACL ""`, `rename-command CLUSTER ""`, "maxmemory 100mb", "maxmemory-policy volatile-lfu"}

func TestLocalAnswersHaveRedisForm(t *testing.T) {
	l := &lanes{socket: startEngine(t, locked...)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial)})
	const cluster = "-ERR This instance has cluster support disabled\r\n"
	for _, c := range []struct{ command, resp2, resp3 string }{
		{"CONFIG GET databases", "*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n", "%1\r\n$9\r\ndatabases\r\n$2\r\n16\r\n"},
		{"config get SLAVE*", "*2\r\n$15\r\nslave-read-only\r\n$3\r\nyes\r\n", "%1\r\n$15\r\nslave-read-only\r\n$3\r\nyes\r\n"},
		{"CONFIG GET sav? appendonly appendonly", "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nsave\r\n$0\r\n\r\n", "%2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"CONFIG GET maxmemory*", "*4\r\n$9\r\nmaxmemory\r\n$9\r\n104857600\r\n$16\r\nmaxmemory-policy\r\n$12\r\nvolatile-lfu\r\n", "%2\r\n$9\r\nmaxmemory\r\n$9\r\n104857600\r\n$16\r\nmaxmemory-policy\r\n$12\r\nvolatile-lfu\r\n"},
		{"CONFIG GET requirepass dir", "*0\r\n", "%0\r\n"},
		{"CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n", ""},
		{"ACL WHOAMI", "$7\r\ndefault\r\n", ""},
		{"ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", ""},
		{"CLUSTER SLOTS", cluster, ""}, {"CLUSTER NODES", cluster, ""}, {"cluster whatever", cluster, ""}, {"READONLY", cluster, ""}, {"ASKING", cluster, ""},
		{"CLIENT SETINFO LIB-NAME my-lib", "+OK\r\n", ""},
		{"CLIENT SETINFO LIB-NAME", "-ERR wrong number of arguments for 'client|setinfo' command\r\n", ""},
		{"CLIENT SETINFO lib-ver a\x01b", "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n", ""},
		{"CLIENT SETINFO foo bar", "-ERR Unrecognized option 'foo'\r\n", ""},
		{"CLIENT maint_notifications ON moving-endpoint-type none", "-ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP.\r\n", ""},
		{"CLIENT NO-EVICT on", "+OK\r\n", ""}, {"CLIENT NO-EVICT maybe", "-ERR syntax error\r\n", ""}, {"CLIENT CAPA redirect", "+OK\r\n", ""},
		{"CLIENT LIST TYPE pubsub", "$0\r\n\r\n", "=4\r\ntxt:\r\n"}, {"CLIENT LIST ID 999999 888888", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
		{"CLIENT LIST TYPE x", "-ERR Unknown client type 'x'\r\n", ""}, {"CLIENT LIST ID x", "-ERR Invalid client ID\r\n", ""}, {"CLIENT LIST FOO", "-ERR syntax error\r\n", ""},
	} {
		words := strings.Fields(c.command)
		refusal := errorLine(errNoAuth)
		if strings.Contains(c.resp2, "wrong number") { // which redis-server says first
			refusal = c.resp2
		}
		dialCar(t, car).expect(refusal, words...)
		two := dialCar(t, car).login()
		two.expect(c.resp2, words...)
		three := dialCar(t, car).login()
		three.do("HELLO", "3")
		if c.resp3 == "" {
			c.resp3 = c.resp2
		}
		three.expect(c.resp3, words...)
		two.expect("+PONG\r\n", "PING")
	}
}

func errorLine(text string) string { return string(errorReply(text)) }

// TestLocalAnswersKeepTheirPlace mixes local answers with forwarded commands,
// slow and fast, in one write.
func TestLocalAnswersKeepTheirPlace(t *testing.T) {
	car, _ := pair(t, locked...)
	c := dialCar(t, car)
	var stream []byte
	var want strings.Builder
	add := func(reply string, words ...string) {
		stream = resp.AppendCommand(stream, words...)
		want.WriteString(reply)
	}
	add(errorLine(errNoAuth), "ROLE")
	add("+OK\r\n", "AUTH", password)
	for i := range 3000 {
		n := fmt.Sprint(i)
		add(fmt.Sprintf("$%d\r\n%s\r\n", len(n), n), "ECHO", n)
		switch i % 5 {
		case 0:
			add("+OK\r\n", "CLIENT", "SETINFO", "LIB-VER", n)
		case 1:
			add("*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n", "CONFIG", "GET", "timeout")
		case 2:
			add(errorLine(notAllowed("config|set")), "CONFIG", "SET", "dir", "/")
		case 3:
			if i%500 == 3 {
				add("*-1\r\n", "BLPOP", "none", "0.01")
			}
		}
	}
	add("$7\r\ndefault\r\n", "ACL", "WHOAMI")
	add("+RESET\r\n", "RESET")
	add(errorLine(errNoAuth), "ACL", "WHOAMI")
	add("+OK\r\n", "QUIT")
	if got := c.exchange(stream); got != want.String() {
		t.Error(firstDifference(want.String(), got))
	}
}

// TestEachProtocolChangeIsKnownToTheNextLocalAnswer pipelines HELLO in front
// of an answer that depends on it.
func TestEachProtocolChangeIsKnownToTheNextLocalAnswer(t *testing.T) {
	car, _ := pair(t, locked...)
	c := dialCar(t, car).login()
	for range 20 {
		for _, v := range []struct{ version, want string }{{"3", "%1\r\n"}, {"2", "*2\r\n"}} {
			c.write(resp.AppendCommand(resp.AppendCommand(nil, "HELLO", v.version), "CONFIG", "GET", "save"))
			c.reply()
			if got := c.reply(); !strings.HasPrefix(got, v.want) {
				t.Fatalf("after HELLO %s: %q", v.version, got)
			}
		}
	}
}

func TestLocalCommandsMakeATransactionFailLoudly(t *testing.T) {
	car, _ := pair(t, locked...)
	for _, words := range [][]string{{"CONFIG", "GET", "save"}, {"role"}, {"ACL", "WHOAMI"}, {"CLIENT", "SETINFO", "LIB-NAME", "x"}} {
		c := dialCar(t, car).login()
		c.expect("+OK\r\n", "MULTI")
		c.expect("+QUEUED\r\n", "SET", "k", "v")
		if got := c.do(words...); !strings.HasPrefix(got, "-ERR redoubt: ") {
			t.Errorf("%q in MULTI: %q", words, got)
		}
		c.expect("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
		c.expect("$-1\r\n", "GET", "k")
		c.expect("$7\r\ndefault\r\n", "ACL", "WHOAMI")
		// A MULTI that failed is no transaction.
		c.expect("-ERR wrong number of arguments for 'multi' command\r\n", "MULTI", "x")
		c.expect("$7\r\ndefault\r\n", "ACL", "WHOAMI")
	}
	c := dialCar(t, car)
	c.expect(errorLine(errNoAuth), "MULTI")
	c.expect(errorLine(errNoAuth), "ACL", "WHOAMI")
	c.login().expect("$7\r\ndefault\r\n", "ACL", "WHOAMI")
}

func TestClientListShowsSessionsOfTheSameUserOnly(t *testing.T) {
	car, l := pair(t, `user other on >opw +@all ~*`)
	mine, fellow, stranger := dialCar(t, car).login(), dialCar(t, car).login(), dialCar(t, car)
	stranger.expect("+OK\r\n", "AUTH", "other", "opw")
	nobody := dialCar(t, car)
	nobody.expect(errorLine(errNoAuth), "CLIENT", "LIST")
	fellow.expect("+OK\r\n", "CLIENT", "SETNAME", "rq:worker:1")
	fellow.expect("+OK\r\n", "CLIENT", "SETINFO", "LIB-NAME", "lib-x")
	fellow.expect("+OK\r\n", "SELECT", "3")
	id := strings.Trim(mine.do("CLIENT", "ID"), ":\r\n")
	list := mine.do("CLIENT", "LIST")
	if n := strings.Count(list, "\n") - 2; n != 2 {
		t.Errorf("%d lines, want 2: %q", n, list)
	}
	for _, want := range []string{"id=" + id + " ", "name=rq:worker:1 ", "db=3 ", "lib-name=lib-x ", "user=default ", "cmd=client|list "} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in %q", want, list)
		}
	}
	if own := mine.do("CLIENT", "LIST", "ID", id); strings.Count(own, "id=") != 1 || !strings.Contains(own, "id="+id+" ") {
		t.Errorf("own line by id: %q", own)
	}
	stranger.expect("$5\r\nother\r\n", "ACL", "WHOAMI")
	fellow.conn.Close()
	waitFor(t, func() bool { return !strings.Contains(mine.do("CLIENT", "LIST"), "rq:worker:1") })
	if l.dialed.Load() != 3 {
		t.Errorf("%d lanes for three sessions that sent something to the engine", l.dialed.Load())
	}
}

// waitFor asks again and again until it is so; the asking is what takes time.
func waitFor(t testing.TB, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			t.Fatal("it never came to be so")
		}
	}
}

// TestWhatIsBarredNeverLeaves tries every barred command in every form, with
// an engine whose ACL would allow all of them.
func TestWhatIsBarredNeverLeaves(t *testing.T) {
	var log journal
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Log: logTo(&log)})
	direct := dialUnix(t, l.socket).login()
	tried := 0
	for _, c := range command.All() {
		if !c.Barred {
			continue
		}
		tried++
		words := append(strings.Split(c.Name, "|"), "secret-argument")
		lower, upper, mixed := words, up(words), mix(words)
		plain := dialCar(t, car)
		plain.expect(errorLine(errNoAuth), lower...)
		plain.login()
		want := errorLine(notAllowed(c.Name))
		plain.expect(want, lower...)
		plain.expect(want, upper...)
		plain.expect(want, mixed...)
		plain.write([]byte(strings.Join(mixed, " ") + "\r\n"))
		if got := plain.reply(); got != want {
			t.Errorf("inline %q: %q", mixed, got)
		}
		plain.write([]byte(`"` + hex(words[0]) + `" ` + strings.Join(words[1:], " ") + "\r\n"))
		if got := plain.reply(); got != want {
			t.Errorf("inline with escapes %q: %q", words[0], got)
		}
		plain.expect("+OK\r\n", "MULTI")
		plain.expect("+QUEUED\r\n", "SET", "k", "v")
		plain.expect(want, mixed...)
		plain.expect("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
		plain.expect("$-1\r\n", "GET", "k")
		relayed := dialCar(t, car).login()
		relayed.do("PUNSUBSCRIBE", "x") // from here on nothing is counted
		if got := relayed.do(mixed...); !strings.HasPrefix(got, "-ERR unknown command 'redoubt refuses "+c.Name+"'") {
			t.Errorf("%q while relaying: %q", mixed, got)
		}
		relayed.expect("+PONG\r\n", "PING")
		plain.conn.Close()
		relayed.conn.Close()
	}
	if tried < 80 {
		t.Errorf("only %d barred commands were tried", tried)
	}
	// What the engine ran, it counted.
	stats := direct.do("INFO", "commandstats")
	for _, c := range command.All() {
		if c.Barred && strings.Contains(stats, "cmdstat_"+c.Name+":") {
			t.Errorf("the engine has seen %s", c.Name)
		}
	}
	if strings.Contains(log.String(), "secret-argument") || !strings.Contains(log.String(), "monitor") {
		t.Errorf("the log must name commands, not arguments: %.500s", log.String())
	}
}

func up(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToUpper(w)
	}
	return out
}

func mix(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToUpper(w[:1]) + w[1:len(w)-1] + strings.ToUpper(w[len(w)-1:])
	}
	return out
}

func hex(word string) string {
	var b strings.Builder
	for i := range len(word) {
		fmt.Fprintf(&b, `\x%02x`, word[i])
	}
	return b.String()
}

func TestLargeRefusedCommandsPassUnheld(t *testing.T) {
	car, _ := pair(t, locked...)
	c := dialCar(t, car).login()
	big := strings.Repeat("x", 3_000_000)
	c.expect(errorLine(notAllowed("replconf")), "REPLCONF", big, big)
	c.expect(errorLine(errTooLong), "CONFIG", "GET", big)
	c.expect("+OK\r\n", "MULTI")
	c.expect(errorLine(inTransaction("config|get")), "CONFIG", "GET", big)
	c.expect("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
	c.expect("$2\r\nhi\r\n", "ECHO", "hi")
}

func TestAnUnreachableCacheIsToldAtOnce(t *testing.T) {
	var log journal
	var result atomic.Value
	car, _ := startSidecar(t, Options{Log: logTo(&log), Gateways: one(func(context.Context) (net.Conn, error) { return nil, result.Load().(error) })})
	for _, c := range []struct {
		err  error
		want string
	}{{fmt.Errorf("no route: %w", os.ErrDeadlineExceeded), errAway}, {fmt.Errorf("reading: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), errAwayRefused + "the gateway refused this host's certificate (tls: bad certificate): its log says why"}} {
		result.Store(c.err) // of one type, as atomic.Value wants it
		for range 3 {
			app := dialCar(t, car)
			app.expect(errorLine(c.want), "AUTH", password)
			app.expect(errorLine(c.want), "AUTH", password) // phpredis asks again
			app.send("SET", "k", "v")
			if got := app.rest(); got != "" { // else it would be unauthenticated in redis-rb's pool for ever
				t.Errorf("%q", got)
			}
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines about one outage: %s", n, log.String())
	}
}

func TestADialThatHangsIsGivenUp(t *testing.T) {
	car, _ := startSidecar(t, Options{Limits: Limits{Dial: 50 * time.Millisecond}, Gateways: one(func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})})
	app := dialCar(t, car)
	app.expect(errorLine(errAway), "AUTH", password)
}
