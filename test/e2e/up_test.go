package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestUpGivesTheApplicationARedis(t *testing.T) {
	d := lab.Up(t)
	c := d.Connect(t)
	c.Want("+OK\r\n", "SET", "greeting", "hello", "EX", "60")
	c.Want("$5\r\nhello\r\n", "GET", "greeting")
	c.Want(":60\r\n", "TTL", "greeting")
	for _, want := range []string{"engine ", "gateway ", "sidecar ", "proof ", "PONG", "ready: "} {
		if !strings.Contains(d.Output(), want) {
			t.Errorf("the start doesn't say %q:\n%s", want, d.Output())
		}
	}
	if strings.Contains(d.Output(), d.Password()) {
		t.Error("the start prints the password")
	}
}

func TestStateIsKeptBetweenRunsAndDataIsNot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first := lab.UpIn(t, dir)
	first.Connect(t).Want("+OK\r\n", "SET", "k", "v")
	ca := read(t, filepath.Join(dir, "ca", "ca.crt"))
	if code := first.Stop(); code != 0 {
		t.Fatalf("a clean stop ended with %d\n%s", code, first.Output())
	}
	second := lab.UpIn(t, dir)
	if second.Password() != first.Password() || read(t, filepath.Join(dir, "ca", "ca.crt")) != ca {
		t.Fatal("the second run made a new password or a new CA")
	}
	second.Connect(t).Want("$-1\r\n", "GET", "k")
}

func TestEverySecretBelongsToItsOwnerOnly(t *testing.T) {
	d := lab.Up(t)
	secrets := 0
	err := filepath.WalkDir(d.Dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		public := strings.HasSuffix(path, ".crt") || strings.HasSuffix(path, ".crl")
		if !public {
			secrets++
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %04o", path, info.Mode().Perm())
			}
		}
		return nil
	})
	if err != nil || secrets < 5 {
		t.Fatalf("%d secrets, %v", secrets, err)
	}
	for _, room := range []string{"gateway", "sidecar"} {
		if _, err := os.Stat(filepath.Join(d.Dir, room, "ca.key")); err == nil {
			t.Errorf("the CA's key lies in what the %s reads", room)
		}
	}
}

func TestEngineAndFrontNeverOutliveUp(t *testing.T) {
	for name, end := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "interrupted": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			d := lab.Up(t)
			engines, fronts := enginesOf(t, d), childrenOf(t, d, "redoubt-front")
			if len(engines) != 1 || len(fronts) != 1 {
				t.Fatalf("engines: %v, fronts: %v", engines, fronts)
			}
			d.Signal(end)
			code := d.Wait()
			if end != syscall.SIGKILL && code != 0 {
				t.Errorf("exit code %d", code)
			}
			within(t, time.Minute, "the engine and the front to end", func() bool { return !alive(engines[0]) && !alive(fronts[0]) })
			for _, address := range []string{d.Sidecar, d.Gateway} {
				if conn, err := net.Dial("tcp", address); err == nil {
					conn.Close()
					t.Errorf("%s still listens", address)
				}
			}
		})
	}
}

func TestUpSaysWhatIsInTheWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := lab.Up(t)
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	notAnEngine := filepath.Join(t.TempDir(), "redis-server")
	if err := os.WriteFile(notAnEngine, []byte("#!/bin/sh\necho no version here\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	free := []string{"--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"sidecar's port taken": {[]string{"--listen", taken.Addr().String(), "--gateway", "127.0.0.1:0"}, 3, []string{taken.Addr().String(), "--listen"}},
		"gateway's port taken": {[]string{"--gateway", taken.Addr().String(), "--listen", "127.0.0.1:0"}, 3, []string{taken.Addr().String(), "--gateway"}},
		"directory in use":     {append(free, "--dir", running.Dir), 3, []string{running.Dir, "in use"}},
		"directory open":       {append(free, "--dir", open), 1, []string{"chmod 700 " + open}},
		"no such engine":       {append(free, "--engine", "/nowhere/redis-server"), 3, []string{"/nowhere/redis-server"}},
		"no engine at all":     {append(free, "--engine", notAnEngine), 3, []string{notAnEngine}},
		"other hosts":          {[]string{"--listen", "0.0.0.0:0", "--gateway", "127.0.0.1:0"}, 2, []string{"0.0.0.0", "loopback"}},
		"unknown use":          {append(free, "--uses", "cahce"), 2, []string{"cahce", "queues"}},
		"unknown flag":         {append(free, "--lisen", "x"), 2, []string{"--lisen", "redoubt up --help"}},
		"bad size":             {append(free, "--memory", "lots"), 2, []string{"lots", "64mb"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if !strings.Contains(strings.Join(args, " "), "--dir") {
				args = append(args, "--dir", filepath.Join(t.TempDir(), "state"))
			}
			out, code := lab.Run(t, exec.Command(lab.Redoubt(t), append([]string{"up"}, args...)...))
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("doesn't say %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "goroutine ") {
				t.Errorf("panicked:\n%s", out)
			}
		})
	}
}

func TestAFullDiskLeavesNoHalfState(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k,mode=700"); err != nil { // room for two files or so
		t.Fatalf("mount a small tmpfs (root is needed): %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	out, code := lab.Run(t, exec.Command(lab.Redoubt(t), "up", "--dir", dir, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"))
	if code == 0 || !strings.Contains(out, "no space left on device") || !strings.Contains(out, dir) {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=10m"); err != nil {
		t.Fatal(err)
	}
	lab.UpIn(t, dir).Connect(t).Want("+PONG\r\n", "PING") // what was written before is whole, the rest is made now
}

// run runs a command to its end, within a bound, and returns what it printed.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// enginesOf lists the children of a running redoubt that are engines.
func enginesOf(t *testing.T, d *lab.Deployment) []int {
	t.Helper()
	return childrenOf(t, d, "redis-server")
}

// childrenOf are the processes that up has started and that call themselves so.
func childrenOf(t *testing.T, d *lab.Deployment, name string) []int {
	t.Helper()
	var found []int
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.PID()))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("%v, %v", tasks, err)
	}
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(args), name) {
				found = append(found, pid)
			}
		}
	}
	return found
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// within waits for something that no channel tells of, looking often.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// soon is within for what is promised to take no longer than that.
func soon(t *testing.T, promised time.Duration, what string, ok func() bool) {
	t.Helper()
	bound := lab.Promised(t, promised)
	began := time.Now()
	within(t, time.Minute, what, ok)
	if took, most := time.Since(began), bound(); took > most {
		t.Errorf("waited %v for %s, more than %v", took, what, most)
	}
}

func mustConnect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
