package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// mark is a value that occurs nowhere else, and in no file of this test either.
func mark() string {
	var b [16]byte
	rand.Read(b[:])
	return "PHI" + hex.EncodeToString(b[:])
}

// TestNoCachedValueReachesAFile writes marked keys and values in every way that
// has been seen to reach a log or a dump, lets the engine die of a crash that
// would write a core and a report, starts it again, and then looks into every
// file that was written anywhere since. A file that holds another mark on purpose shows
// that the search isn't blind.
func TestNoCachedValueReachesAFile(t *testing.T) {
	t.Parallel()
	began := time.Now()
	m := mark()
	d := lab.Up(t, "--allow", "scripting", "--memory", "64mb", "--log-level", "debug")
	engine := enginesOf(t, d)[0]
	c := d.Connect(t)
	c.Want("+OK\r\n", "SET", "key:"+m, strings.Repeat(m, 1000))
	c.Want(":1\r\n", "HSET", "hash:"+m, "field:"+m, m)
	c.Do("XADD", "stream", "*", m, m)
	c.Want(":1\r\n", "XLEN", "stream")
	c.Do("EVAL", "redis.log(redis.LOG_WARNING, ARGV[1]); return redis.error_reply(ARGV[1])", "0", m)
	c.Do("EVAL", "local x = ARGV[1] .. nil", "0", m)
	c.Do("NOSUCHCOMMAND", m)
	c.Do("CONFIG", "SET", m, m)
	c.Do("CLIENT", "SETNAME", m)
	half := d.Connect(t)
	half.Send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n%s", strings.Repeat(m, 50))) // half-sent
	bad := d.Connect(t)
	bad.Send("*1\r\n$" + m + "\r\n") // a protocol error with the mark in it
	lab.Connect(t, d.Sidecar, "").Do("AUTH", m)
	engineHasNoFileOpen(t, engine)

	// SIGSEGV is what a flaw in the engine looks like; the kernel would dump it.
	if err := syscall.Kill(engine, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "another engine", func() bool {
		engines := enginesOf(t, d)
		return len(engines) == 1 && engines[0] != engine
	})
	within(t, time.Minute, "the cache to answer again", func() bool {
		c := lab.NewClient(t, mustConnect(t, d.Sidecar))
		c.Send(lab.Encode("AUTH", d.Password()))
		reply, err := c.TryReply()
		return err == nil && reply == "+OK\r\n"
	})
	d.Connect(t).Want("$-1\r\n", "GET", "key:"+m)
	d.Connect(t).Want("+OK\r\n", "SET", "again:"+m, m)
	if strings.Contains(d.Output(), m) {
		t.Error("the mark is in what redoubt prints")
	}
	d.Stop()
	control := filepath.Join(t.TempDir(), "leak")
	planted := mark()
	if err := os.WriteFile(control, []byte("x"+planted), 0o600); err != nil {
		t.Fatal(err)
	}
	looked, seen := 0, false
	for _, path := range writtenSince(t, began) {
		looked++
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(m)) {
			t.Errorf("the mark is in %s", path)
		}
		seen = seen || path == control && bytes.Contains(data, []byte(planted))
	}
	if looked < 5 || !seen { // the deployment's own files at least
		t.Fatalf("%d files were looked at; a leak would be found: %v", looked, seen)
	}
	t.Logf("%d files written since, none holds the mark", looked)
}

// engineHasNoFileOpen: sockets, pipes and epoll are all that it may hold.
func engineHasNoFileOpen(t *testing.T, pid int) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) < 3 {
		t.Fatalf("the engine's descriptors: %v, %v", fds, err)
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/dev/") || strings.HasPrefix(target, "/proc/") {
			continue
		}
		t.Errorf("the engine has a file open: %s", target)
	}
}

// writtenSince lists every regular file of the machine's own file systems that
// was written since a moment.
func writtenSince(t *testing.T, began time.Time) []string {
	t.Helper()
	// File times are those of the kernel's last tick.
	began = began.Add(-time.Second)
	var files []string
	err := filepath.WalkDir("/", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		if e.IsDir() {
			switch path {
			case "/proc", "/sys":
				return filepath.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.ModTime().After(began) && info.Size() < 1<<30 {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
