package trail

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// small is a log whose files are full after a record or two.
func small(t testing.TB, records int) *Log {
	t.Helper()
	l := Open(filepath.Join(t.TempDir(), Name))
	l.max = 300
	for i := range records {
		n, err := l.Append(Record{Who: &Who{Host: "cache-1", UID: 0, Login: "jane"}, Command: "pki issue", Args: []string{fmt.Sprintf("--name=web-%d", i)}, Outcome: Done})
		must(t, err)
		if n != uint64(i+1) {
			t.Fatalf("record %d has number %d", i+1, n)
		}
	}
	return l
}

func read(t testing.TB, l *Log) (records []Record, c *Chain) {
	t.Helper()
	c, err := l.Read(func(r *Record, _ []byte) error {
		records = append(records, *r)
		return nil
	})
	must(t, err)
	return records, c
}

// holds says that a log is whole, with so many records.
func holds(t testing.TB, l *Log, records uint64) {
	t.Helper()
	if _, c := read(t, l); c.Records != records || c.Torn != 0 || len(c.Faults) > 0 {
		t.Fatalf("%d records wanted: %+v", records, c)
	}
}

func TestALogIsReadAsItWasWritten(t *testing.T) {
	l := small(t, 7)
	records, c := read(t, l)
	if c.Records != 7 || c.First != 1 || c.Last != 7 || len(c.Faults) > 0 || len(c.Hash) != 64 {
		t.Fatalf("%+v", c)
	}
	for i, r := range records {
		if r.N != uint64(i+1) || r.Command != "pki issue" || r.Who.Login != "jane" || r.Args[0] != fmt.Sprintf("--name=web-%d", i) {
			t.Errorf("%+v", r)
		}
	}
	if files, err := l.files(); err != nil || len(files) < 3 {
		t.Errorf("the chain should go over several files: %v, %v", files, err)
	}
	if _, c := read(t, Open(filepath.Join(t.TempDir(), "none"))); c.Records != 0 || len(c.Faults) > 0 {
		t.Errorf("a log that isn't there: %+v", c)
	}
}

// contents are a directory's files.
func contents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		all[e.Name()] = text
	}
	return all
}

// put makes a log of files, in memory: there are thousands of them, and each record
// waits for the disk.
func put(t testing.TB, files map[string][]byte) *Log {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "trail")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := Open(dir)
	l.max = 300
	for name, text := range files {
		must(t, os.WriteFile(l.path(name), text, 0o600))
	}
	return l
}

// seen says that a log is found out, and still is when the next record has come.
func seen(t *testing.T, l *Log, what string) {
	t.Helper()
	if _, c := read(t, l); len(c.Faults) == 0 {
		t.Errorf("%s: not seen", what)
	}
	if _, err := l.Append(Record{Command: "verify", Outcome: Began}); err != nil {
		return // refused: it says why
	}
	if _, c := read(t, l); len(c.Faults) == 0 {
		t.Errorf("%s: not seen any more once another record stands behind it", what)
	}
}

// TestEveryCutAndChangeIsSeen tries each byte, line and file of a log.
func TestEveryCutAndChangeIsSeen(t *testing.T) {
	t.Parallel()
	whole := contents(t, small(t, 3).dir)
	without := func(name string) map[string][]byte {
		files := map[string][]byte{}
		for n, text := range whole {
			if n != name {
				files[n] = text
			}
		}
		return files
	}
	for name, text := range whole {
		if name == lockFile {
			continue
		}
		if files := without(name); name != headFile {
			seen(t, put(t, files), name+" is gone")
		}
		for i := range text {
			files := without(name)
			files[name] = slices.Clone(text)
			files[name][i] ^= 1
			seen(t, put(t, files), fmt.Sprintf("%s, byte %d is another", name, i))
			files[name] = text[:i]
			seen(t, put(t, files), fmt.Sprintf("%s is cut at byte %d", name, i))
		}
		for i, line := range bytes.SplitAfter(text, []byte("\n")) {
			if len(line) == 0 {
				continue
			}
			files := without(name)
			files[name] = bytes.Replace(text, line, nil, 1)
			seen(t, put(t, files), fmt.Sprintf("%s, line %d is gone", name, i+1))
			files[name] = bytes.Replace(text, line, append(slices.Clone(line), line...), 1)
			seen(t, put(t, files), fmt.Sprintf("%s, line %d is there twice", name, i+1))
		}
	}
}

// TestWithoutItsHeadALogSaysSo: what was cut off can't be told.
func TestWithoutItsHeadALogSaysSo(t *testing.T) {
	l := small(t, 3)
	must(t, os.Remove(l.path(headFile)))
	if _, c := read(t, l); len(c.Faults) != 1 || !strings.Contains(c.Faults[0], "is gone") {
		t.Fatalf("%+v", c)
	}
	_, err := l.Append(Record{Command: "verify", Outcome: Began})
	must(t, err)
	holds(t, l, 4)
}

// TestACrashIsNoFault: a record that is there in part, or whole and head doesn't know of
// it, is what a machine leaves that stops; the next record goes on behind it.
func TestACrashIsNoFault(t *testing.T) {
	t.Parallel()
	for before := range 4 {
		l := small(t, before)
		old := map[string][]byte{}
		if before > 0 {
			old = contents(t, l.dir)
		}
		_, err := l.Append(Record{Command: "pki revoke", Args: []string{"web-1"}, Outcome: Began}, Record{Ledger: "leaf"}, Record{Ledger: "ban"})
		must(t, err)
		now := contents(t, l.dir)
		for name, text := range now {
			if !strings.HasSuffix(name, suffix) || bytes.Equal(text, old[name]) {
				continue
			}
			for cut := len(old[name]); cut <= len(text); cut++ {
				files := map[string][]byte{name: text[:cut]}
				for n, text := range old {
					if n != name {
						files[n] = text
					}
				}
				l := put(t, files)
				whole := bytes.LastIndexByte(text[:cut], '\n') + 1
				torn, records := int64(cut-whole), uint64(before+bytes.Count(text[len(old[name]):cut], []byte("\n")))
				_, c := read(t, l)
				if c.Records != records || c.Torn != torn || before > 0 && len(c.Faults) > 0 {
					t.Fatalf("cut at byte %d of %d, behind %d records: %+v", cut, len(text), before, c)
				}
				n, err := l.Append(Record{Command: "pki list", Outcome: Done})
				must(t, err)
				holds(t, l, records+1)
				if all, _ := read(t, l); n != records+1 || all[n-1].Torn != torn {
					t.Fatalf("the record behind it: %+v", all[n-1])
				}
			}
		}
	}
}

// TestProcessesAppendAtOnce: none loses a record or takes another's number; some are
// killed in the middle.
func TestProcessesAppendAtOnce(t *testing.T) {
	const processes, each = 2, 40
	if dir := os.Getenv("TRAIL_TEST_APPEND"); dir != "" {
		l := Open(dir)
		l.max = 2000
		for i := 0; i < each || os.Getenv("TRAIL_TEST_ENDLESS") != ""; i++ {
			_, err := l.Append(Record{Command: "pki issue", Args: []string{fmt.Sprint(os.Getpid()), fmt.Sprint(i)}, Outcome: Done})
			must(t, err)
			os.Stdout.Write([]byte{'.'})
		}
		return
	}
	dir := filepath.Join(t.TempDir(), Name)
	start := func(extra ...string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(append(os.Environ(), "TRAIL_TEST_APPEND="+dir), extra...)
		return cmd
	}
	var running []*exec.Cmd
	for range processes {
		cmd := start()
		must(t, cmd.Start())
		running = append(running, cmd)
	}
	for round := range 5 {
		cmd := start("TRAIL_TEST_ENDLESS=1")
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = out.Read(make([]byte, 1+round))
		must(t, err)
		cmd.Process.Kill()
		cmd.Wait()
	}
	for _, cmd := range running {
		must(t, cmd.Wait())
	}
	records, c := read(t, Open(dir))
	if len(c.Faults) > 0 {
		t.Fatalf("%+v", c)
	}
	for _, cmd := range running {
		next := 0
		for _, r := range records {
			if r.Args[0] == fmt.Sprint(cmd.Process.Pid) && r.Args[1] == fmt.Sprint(next) {
				next++
			}
		}
		if next != each {
			t.Errorf("process %d: %d records of %d, in their order", cmd.Process.Pid, next, each)
		}
	}
}

// TestAReaderKeepsNobodyWaiting, however slowly it reads.
func TestAReaderKeepsNobodyWaiting(t *testing.T) {
	l := small(t, 3)
	_, err := l.Read(func(*Record, []byte) error {
		_, err := l.Append(Record{Command: "pki issue", Outcome: Done})
		return err
	})
	must(t, err)
	holds(t, l, 6)
}

// TestWhatIsOlderThanSixYearsIsDropped, a file at a time, and nothing younger.
func TestWhatIsOlderThanSixYearsIsDropped(t *testing.T) {
	l := small(t, 0)
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	l.now = func() time.Time { return now }
	const month = 30 * 24 * time.Hour
	most := 0
	for range 200 {
		_, err := l.Append(Record{Command: "pki issue", Args: []string{strings.Repeat("x", 100)}, Outcome: Done})
		must(t, err)
		now = now.Add(month)
		files, err := l.files()
		must(t, err)
		most = max(most, len(files))
	}
	records, c := read(t, l)
	if len(c.Faults) > 0 || c.Last != 200 {
		t.Fatalf("%+v", c)
	}
	if age := now.Sub(records[0].Time); age < Kept || age > Kept+8*month {
		t.Errorf("the oldest record is %s old", age)
	}
	if most > 50 {
		t.Errorf("there were %d files", most)
	}
	files, err := l.files()
	must(t, err)
	must(t, os.Remove(l.path(files[0].name)))
	if _, c := read(t, l); len(c.Faults) == 0 {
		t.Error("that more than what was dropped is gone isn't seen")
	}
}

func TestARecordIsBounded(t *testing.T) {
	awful := strings.Repeat("\x00\xff<", 1000)
	r := Record{N: 1<<63 - 1, Time: time.Now().UTC(), Who: &Who{Host: bounded(awful), User: bounded(awful), Login: bounded(awful), Sudo: bounded(awful)},
		Command: "secret rotate", Args: Arguments(slices.Repeat([]string{awful}, 100)), Outcome: Failed, Exit: 3, Prev: strings.Repeat("0", 64)}
	line, err := r.encode()
	must(t, err)
	if again, err := parse(line); err != nil || len(again.Args) != maxArgs+1 {
		t.Fatalf("%v of %d bytes", err, len(line))
	}
}

// FuzzParse: what is read as a record is written as it was read.
func FuzzParse(f *testing.F) {
	l := small(f, 2)
	_, err := l.Read(func(_ *Record, line []byte) error {
		f.Add(slices.Clone(line))
		return nil
	})
	must(f, err)
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"n":1,"time":"0001-01-01T00:00:00Z","prev":""}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parse(line)
		if err != nil {
			return
		}
		if again, err := r.encode(); err != nil || !bytes.Equal(again, line) {
			t.Fatalf("read %q, written %q, %v", line, again, err)
		}
	})
}

// FuzzRead: whatever lies there is read within bounds, and what can be appended to is
// one record longer then.
func FuzzRead(f *testing.F) {
	files := contents(f, small(f, 1).dir)
	f.Add(files["000000000001.jsonl"], files[headFile])
	f.Add(files["000000000001.jsonl"][:20], []byte{})
	f.Add(bytes.Repeat([]byte("x"), 3*maxLine), []byte("1 x\n"))
	f.Fuzz(func(t *testing.T, records, head []byte) {
		l := put(t, map[string][]byte{"000000000001.jsonl": records, headFile: head})
		_, before := read(t, l)
		if len(before.Faults) > maxFaults+1 {
			t.Fatalf("%d faults", len(before.Faults))
		}
		if _, err := l.Append(Record{Command: "verify", Outcome: Began}); err != nil {
			return
		}
		_, after := read(t, l)
		if after.Records != before.Records+1 {
			t.Fatalf("%d records became %d", before.Records, after.Records)
		}
		if len(before.Faults) > 0 && before.Last > 0 && len(after.Faults) == 0 && !strings.Contains(before.Faults[0], "is gone") {
			t.Fatalf("%q is no longer seen", before.Faults)
		}
	})
}
