package engine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestMemoryThatIsntThereIsRefused(t *testing.T) {
	if room() == 0 {
		t.Fatal("this machine doesn't say how much memory it has")
	}
	_, err := New(Options{Passwords: good(password), Policy: Policy{Uses: []Use{Cache}, Memory: 900 << 30}})
	if err == nil || !strings.Contains(err.Error(), "memory is 921600 MiB, but this machine") || !strings.Contains(err.Error(), "MiB at most") {
		t.Errorf("900 GiB on %d MiB: %v", room()>>20, err)
	}
	for memory, want := range map[int64]string{700: "", 900: "leave a fifth", 1000: "leave a fifth"} {
		warning, err := Policy{Memory: memory << 20}.fits(1000 << 20)
		if err != nil || (warning == "") != (want == "") || !strings.Contains(warning, want) {
			t.Errorf("%d MiB of 1000: %q %v", memory, warning, err)
		}
	}
	if warning, err := (Policy{Memory: mostMemory}).fits(0); warning != "" || err != nil {
		t.Errorf("where nobody knows: %q %v", warning, err)
	}
}

// TestAnEngineEndedForLackOfMemorySaysSo fills one in a cgroup that has less than its
// policy, in a process of its own; and one that somebody killed doesn't say so.
func TestAnEngineEndedForLackOfMemorySaysSo(t *testing.T) {
	if limit := os.Getenv("REDOUBT_CGROUP"); limit != "" {
		fill(t, limit)
		return
	}
	limit := memoryCgroup(t)
	dir := filepath.Dir(limit)
	if err := os.WriteFile(limit, []byte("500000000"), 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", `echo $$ > "$1/cgroup.procs"; exec "$2" -test.run='TestAnEngineEndedForLackOfMemorySaysSo$' -test.v`, "sh", dir, os.Args[0])
	cmd.Env = append(os.Environ(), "REDOUBT_CGROUP="+limit)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func fill(t *testing.T, limit string) {
	r := start(t, Options{Policy: Policy{Uses: []Use{Cache}, Memory: 300 * mib}})
	if got := readProc(t, r.PID(), "oom_score_adj"); got != "0\n" {
		t.Errorf("the engine is spared like its supervisor: %s", got)
	}
	if room := room(); room < 490000000 || room > 500000000 { // whole pages
		t.Errorf("room is %d", room)
	}
	used, err := os.ReadFile(filepath.Join(filepath.Dir(limit), usedFile(limit)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(used)))
	if err != nil {
		t.Fatal(err)
	}
	// It had fitted. And the kernel takes the engine, not this process, which is large
	// where it looks for races, as is the next engine until it has become one: that needs
	// room too.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", r.PID()), []byte("1000"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(limit, []byte(fmt.Sprint(int64(n)+200*mib)), 0); err != nil {
		t.Fatal(err)
	}
	c, value := r.app(), strings.Repeat("x", 8<<20)
	command := appendCommand(nil, "SET", "100", value)
	for i := range 100 { // in one buffer: this process shall not grow
		copy(command[bytes.Index(command, []byte("$3\r\n1"))+4:], fmt.Sprint(100+i))
		if _, err := c.conn.Write(command); err != nil {
			break // it has ended
		}
	}
	waitFor(t, "the cause of its end", func() bool { return strings.Contains(r.log.String(), "the engine is restarted") })
	if !strings.Contains(r.log.String(), "there was no memory left") {
		t.Error("it isn't told why the engine ended")
	}
}

// usedFile is the file that says how much of the limit is used.
func usedFile(limit string) string {
	if filepath.Base(limit) == "memory.max" {
		return "memory.current"
	}
	return "memory.usage_in_bytes"
}

// memoryCgroup is the file of a new cgroup that limits its memory.
func memoryCgroup(t *testing.T) (limit string) {
	t.Helper()
	parent, limit := memoryV1, "memory.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(memoryV1, limit)); err != nil {
		parent, limit = memoryV2, "memory.max"
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
			t.Fatalf("no cgroup can be made that limits memory: %v", err)
		}
	}
	dir, err := os.MkdirTemp(parent, "redoubt-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, limit)
}
