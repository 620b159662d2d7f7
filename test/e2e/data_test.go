package e2e_test

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestTheLargestValuePassesUnheld sends and reads a value of 512 MB, Redis's own
// limit. None of our processes holds it; only the engine does.
func TestTheLargestValuePassesUnheld(t *testing.T) {
	d := lab.Up(t)
	c := d.Connect(t)
	const size = 512 << 20
	c.Send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$%d\r\n", size))
	chunk := pattern(1 << 20)
	for range size / len(chunk) {
		c.Send(chunk)
	}
	c.Send("\r\n")
	if reply := c.Reply(); reply != "+OK\r\n" {
		t.Fatal(reply)
	}
	reader := d.Connect(t) // one that has not sent anything large
	reader.Send(lab.Encode("GET", "large"))
	head := fmt.Sprintf("$%d\r\n", size)
	got := make([]byte, len(head))
	if _, err := io.ReadFull(reader.Conn, got); err != nil || string(got) != head {
		t.Fatalf("%q, %v", got, err)
	}
	part := make([]byte, len(chunk))
	for i := range size / len(chunk) {
		reader.Conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadFull(reader.Conn, part); err != nil || string(part) != chunk {
			t.Fatalf("megabyte %d is not what was sent (%v)", i, err)
		}
	}
	if peak := peakMemory(t, d.PID()); peak > 256<<20 {
		t.Errorf("redoubt itself has used %d MB", peak>>20)
	}
}

// pattern is text of n bytes without a period that a cut could hide in.
func pattern(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strconv.Itoa(i * 7919))
	}
	return b.String()[:n]
}

// peakMemory is the most that a process has had resident (proc(5), VmHWM).
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestAConnectionOutlivesTheEngine: the application's connection stays open
// while the engine is gone; what it asks then is answered with an error at once,
// and served again, without a new connection, when there is another engine.
func TestAConnectionOutlivesTheEngine(t *testing.T) {
	d := lab.Up(t)
	c := d.Connect(t)
	c.Want("+OK\r\n", "SET", "k", "v")
	engine := enginesOf(t, d)[0]
	if err := syscall.Kill(engine, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	bound := lab.Promised(t, 5*time.Second)
	within(t, time.Minute, "the cache to serve the same connection again", func() bool {
		began := time.Now()
		reply := c.Do("GET", "k")
		if took, most := time.Since(began), bound(); took > most {
			t.Fatalf("an answer took %v, more than %v", took, most)
		}
		if strings.HasPrefix(reply, "-") && !strings.Contains(reply, "redoubt:") {
			t.Fatalf("the application is told %q", reply)
		}
		return reply == "$-1\r\n"
	})
	c.Want("+OK\r\n", "SET", "k", "w")
	c.Want("$1\r\nw\r\n", "GET", "k")
}

// TestManyConnectionsShareFewTunnels: what the sidecar is for.
func TestManyConnectionsShareFewTunnels(t *testing.T) {
	d := lab.Up(t)
	before := sockets(t, enginesOf(t, d)[0])
	for i := range 200 {
		key := fmt.Sprint("k", i)
		d.Connect(t).Want("+OK\r\n", "SET", key, "v")
	}
	if more := sockets(t, enginesOf(t, d)[0]) - before; more > 5 {
		t.Errorf("200 connections of the application are %d more at the engine", more)
	}
}

func sockets(t *testing.T, pid int) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}
