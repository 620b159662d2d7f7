//go:build engines

// Package engines_test holds Redoubt's promises against every generation of
// engine that Debian ships, each in a root of its own release (see test/lab).
//
// It is the slower rest: unpacking the roots takes a few seconds each, once.
//
//	CGO_ENABLED=0 go test -tags engines ./test/engines
package engines_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// each runs a claim as a subtest per engine, on a host of the engine's release.
func each(t *testing.T, claim func(t *testing.T, b lab.Binary)) {
	for _, name := range lab.Engines() {
		t.Run(name, func(t *testing.T) { lab.InRoot(t, name, claim) })
	}
}

// TestEveryEngineStartsByItself is the control: what fails under our lock and
// not here is our doing.
func TestEveryEngineStartsByItself(t *testing.T) {
	each(t, func(t *testing.T, b lab.Binary) {
		socket := filepath.Join(t.TempDir(), "engine.sock")
		lab.Plain(t, b.Path, "port 0", "unixsocket "+socket, `save ""`)
		conn := dial(t, socket)
		if got := ask(t, conn, "PING"); got != "+PONG" {
			t.Errorf("PING: %q", got)
		}
		info := ask(t, conn, "INFO server")
		field := b.Product + "_version:" + b.Version
		if !strings.Contains(info, field) {
			t.Errorf("INFO server has no %q:\n%s", field, info)
		}
	})
}

// TestARootIsNeverWrittenTo: one root serves every test, so what a test does to
// its host must be gone with it.
func TestARootIsNeverWrittenTo(t *testing.T) {
	const name = "redis-7.0"
	t.Run("changed", func(t *testing.T) {
		lab.InRoot(t, name, func(t *testing.T, b lab.Binary) {
			if err := os.WriteFile("/etc/mark", nil, 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Remove(b.Path); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("unchanged", func(t *testing.T) {
		lab.InRoot(t, name, func(t *testing.T, b lab.Binary) { // opens, so it is there again
			if _, err := os.Stat("/etc/mark"); !os.IsNotExist(err) {
				t.Errorf("an earlier test's file is still in the root: %v", err)
			}
		})
	})
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask sends an inline command and returns its reply: a line, or a bulk
// string's content.
func ask(t *testing.T, conn net.Conn, command string) string {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	line = strings.TrimSuffix(line, "\r\n")
	size, bulk := strings.CutPrefix(line, "$")
	if !bulk {
		return line
	}
	n, err := strconv.Atoi(size)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	body := make([]byte, n+2)
	if _, err := io.ReadFull(in, body); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(body[:n])
}
