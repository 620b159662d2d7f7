//go:build linux

package part

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

const patience = time.Minute

// ownerVariable makes a second copy of the test binary an owner that a test can kill.
const ownerVariable = "REDOUBT_PART_TEST_OWNS"

func TestMain(m *testing.M) {
	sandbox.Main(sandbox.Role{Name: "talker", Run: talk}, sandbox.Role{Name: "holder", Run: hold})
	if os.Getenv(ownerVariable) != "" {
		_, err := Start(sandbox.Part{Name: "holder", UID: -1, GID: -1}, slog.New(slog.DiscardHandler), os.Stdout)
		fmt.Fprintln(os.Stderr, err)
		select {}
	}
	os.Exit(m.Run())
}

// talk says what its file holds, line by line as it stands, after a record of its own.
func talk() int {
	log := Log(slog.LevelInfo)
	log.Debug("not this")
	log.Warn("a record", "text", "with \"quotes\"\nand lines", "number", 4711, "truth", true, "took", 1500*time.Millisecond, "error", io.EOF)
	io.Copy(os.Stderr, os.NewFile(sandbox.FirstFile, "what to say"))
	return 7
}

// hold keeps its file open until it is ended.
func hold() int {
	os.Stderr.WriteString("holding\n")
	select {}
}

// journal is a log that can be read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) lines(t *testing.T) (list []map[string]any) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		delete(m, "time")
		list = append(list, m)
	}
	return list
}

// talked is what comes out in the log when a part says this.
func talked(t *testing.T, text string) []map[string]any {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out journal
	uid, gid, err := sandbox.UserOf("redoubt-no-such-user")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(sandbox.Part{Name: "talker", UID: uid, GID: gid}, slog.New(slog.NewJSONHandler(&out, nil)), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended(t, p)
	if err := p.End(); err == nil || !strings.HasPrefix(err.Error(), "talker ended with status 7") {
		t.Errorf("its end: %v", err)
	}
	return out.lines(t)
}

func ended(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("the part doesn't end")
	}
}

func TestWhatAPartLogsComesOutAsItsOwn(t *testing.T) {
	found := talked(t, "")
	want := map[string]any{
		"level": "WARN", "msg": "a record", "process": "talker", "text": "with \"quotes\"\nand lines",
		"number": 4711.0, "truth": true, "took": "1.5s", "error": "EOF",
	}
	if len(found) != 1 || fmt.Sprint(found[0]) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", found, want)
	}
}

// TestATakenPartCantSpeakForAnotherOrWithoutEnd: what it says is bounded and its own.
func TestATakenPartCantSpeakForAnotherOrWithoutEnd(t *testing.T) {
	for name, text := range map[string]string{
		"another's name":   `{"level":"INFO","msg":"x","process":"gateway"}`,
		"no message":       `{"level":"INFO"}`,
		"no level":         `{"level":"LOUD","msg":"x"}`,
		"something nested": `{"level":"INFO","msg":"x","a":{"b":1}}`,
		"something behind": `{"level":"INFO","msg":"x"} {"level":"INFO","msg":"y"}`,
		"too many":         `{"level":"INFO","msg":"x"` + strings.Repeat(`,"a":1`, maxAttributes+1) + `}`,
		"a panic":          "panic: at the disco",
		"bytes":            "\x00\xff\x1b[31m",
	} {
		found := talked(t, text+"\n")
		if len(found) != 2 || found[1]["process"] != "talker" || found[1]["msg"] != "a part of this program said something that is no record" {
			t.Errorf("%s: %v", name, found)
		}
		if said, _ := found[len(found)-1]["said"].(string); len(said) > maxUnasked {
			t.Errorf("%s: %d bytes of it are kept", name, len(said))
		}
	}
	long := talked(t, strings.Repeat("x", 3*maxLine)+"\n")
	if len(long) != 2 || long[1]["left_out"] != 1.0 {
		t.Errorf("a line that is too long: %v", long)
	}
	const flood = 3 * maxLines
	began := time.Now()
	found := talked(t, strings.Repeat(`{"level":"INFO","msg":"x"}`+"\n", flood))
	most := maxLines + int(time.Since(began)/lineEvery) + 100 // the lines that say what was left out are few
	if len(found) > 2*most {
		t.Errorf("%d lines of %d came out, more than %d", len(found), flood, most)
	}
	left := 0.0
	said := 0
	for _, line := range found {
		if n, ok := line["left_out"].(float64); ok {
			left += n
		}
		if line["msg"] == "x" {
			said++
		}
	}
	if said+int(left) != flood {
		t.Errorf("%d lines came out and %v are said to be left out, of %d", said, left, flood)
	}
}

// TestAPartEndsWithItsOwner, however that ends: the part holds the pipe's other end.
func TestAPartEndsWithItsOwner(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(program)
	owner.Env = append(os.Environ(), ownerVariable+"=1")
	owner.Stdout = w
	said, err := owner.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	defer owner.Process.Kill()
	w.Close()
	line := make([]byte, 6)
	if _, err := io.ReadFull(said, line); err != nil || string(line) != "<nil>\n" {
		t.Fatalf("%q %v", line, err)
	}
	owner.Process.Kill()
	owner.Wait()
	r.SetReadDeadline(time.Now().Add(patience))
	if n, err := r.Read(line); err != io.EOF {
		t.Errorf("the part still holds its file: %d %v", n, err)
	}
}

func TestAPartThatIsKilledHasEnded(t *testing.T) {
	p, err := Start(sandbox.Part{Name: "holder", UID: -1, GID: -1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.End(); err == nil || !strings.Contains(err.Error(), "died of SIGKILL") {
		t.Errorf("its end: %v", err)
	}
	if err := exec.Command("kill", "-0", fmt.Sprint(p.PID())).Run(); err == nil {
		t.Error("its process is still there")
	}
}

// FuzzParse: whatever a part says is a record of bounded size, or none.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"connection opened","peer":"spiffe://d/app/a","bytes":12,"ok":true}`))
	f.Add([]byte(`{"level":"ERROR+100","msg":"x"}`))
	f.Add([]byte(`{"msg":"x","a":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		level, message, attributes, err := parse(line)
		if err != nil {
			return
		}
		if message == "" || level > slog.LevelError || len(attributes) > maxAttributes {
			t.Errorf("%q: %v %q, %d attributes", line, level, message, len(attributes))
		}
		for _, a := range attributes {
			if a.Key == nameKey || a.Key == slog.MessageKey || a.Key == slog.LevelKey {
				t.Errorf("%q: attribute %s", line, a.Key)
			}
		}
	})
}
