//go:build slow && linux

package scale_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// probeVariable makes this binary the product's command line, with a probe that
// answers on the unix socket of this name.
const probeVariable = "REDOUBT_SCALE_PROBE"

// inside is what only the process itself knows.
type inside struct {
	Heap       uint64 // bytes in use after a collection, stacks too
	Goroutines int
}

// answerOn tells everyone who connects to a socket how the process is.
func answerOn(socket string) error {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			runtime.GC()
			runtime.GC() // the second empties what the first kept of the pools
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			_ = json.NewEncoder(conn).Encode(inside{Heap: m.HeapInuse + m.StackInuse, Goroutines: runtime.NumGoroutine()})
			conn.Close()
		}
	}()
	return nil
}

// vitals is how a process is: what it says and what the kernel says.
type vitals struct {
	inside
	RSS, Peak int64 // bytes: resident now, and the most so far
	Files     int
}

func ask(socket string) (in inside, err error) {
	conn, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		return in, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	return in, json.NewDecoder(conn).Decode(&in)
}

// examine looks at a process; one without a probe has no socket.
func examine(pid int, socket string) (v vitals, err error) {
	if socket != "" {
		if v.inside, err = ask(socket); err != nil {
			return v, err
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return v, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return v, err
	}
	v.Files = len(files)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			v.RSS = kilobytes << 10
		case "VmHWM":
			v.Peak = kilobytes << 10
		}
	}
	return v, nil
}

// mustExamine is examine for a process that must be there.
func mustExamine(t testing.TB, pid int, socket string) vitals {
	t.Helper()
	v, err := examine(pid, socket)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cpu is the processor time that a process has had so far.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	user, _ := strconv.Atoi(fields[12])
	system, _ := strconv.Atoi(fields[13])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 (time(7))
}

// child is the one child of a process: a gateway's is the engine.
func child(t testing.TB, parent int) int {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	t.Fatalf("process %d has no child", parent)
	return 0
}
