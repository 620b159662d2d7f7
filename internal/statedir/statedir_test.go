package statedir_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

func TestOpenLocksOutASecondProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	first, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := statedir.Open(path); !errors.Is(err, statedir.ErrInUse) {
		t.Fatalf("second Open: %v, want ErrInUse", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := statedir.Open(path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}

func TestOpenRefusesADirectoryThatOthersCanEnter(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := statedir.Open(path)
	if err == nil || !strings.Contains(err.Error(), "chmod 700 "+path) {
		t.Fatalf("got %v, want the mend", err)
	}
}

func TestReadSecretRefusesEveryModeThatOthersCanUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode := os.FileMode(0o400); mode <= 0o777; mode++ {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := statedir.ReadSecret(path)
		if private := mode&0o077 == 0; private != (err == nil) {
			t.Fatalf("mode %04o: %v", mode, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Fatalf("the error repeats the secret: %v", err)
		}
	}
}

// TestNoReaderWaitsForAPipe into which nobody writes: whoever can put one where root
// reads would hold root up. What a person names himself may be one.
func TestNoReaderWaitsForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for name, read := range map[string]func() ([]byte, error){
			"secret": func() ([]byte, error) { return statedir.ReadSecret(path) }, "file": func() ([]byte, error) { return statedir.ReadFile(path, 10, "x") },
			"trusted": func() ([]byte, error) { return statedir.ReadTrusted(path, 10, "x") },
		} {
			if _, err := read(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if text, err := statedir.ReadGiven(path, 10, "x"); err != nil || len(text) > 0 {
			t.Errorf("%q %v", text, err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		go func() {
			w.WriteString("given")
			w.Close()
		}()
		if text, err := statedir.ReadGiven(fmt.Sprintf("/dev/fd/%d", r.Fd()), 10, "x"); err != nil || string(text) != "given" {
			t.Errorf("%q %v", text, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a pipe is waited for")
	}
}

func TestReadPasswordWantsExactlyOneLine(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		content, want string
	}{
		{"pw", "pw"}, {"pw\n", "pw"}, {"pw\r\n", "pw"},
		{"", ""}, {"\n", ""}, {"a\nb", ""}, {"a\x00b", ""},
	} {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := statedir.ReadPassword(path)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v", c.content, got, err)
		}
	}
}

// TestWriteFileIsOldOrNewWhenKilledAtAnyMoment kills a process that replaces a
// file over and over, and looks at what it left.
func TestWriteFileIsOldOrNewWhenKilledAtAnyMoment(t *testing.T) {
	if path := os.Getenv("STATEDIR_TEST_WRITE"); path != "" {
		for i := byte(0); ; i++ { // until it is killed
			if err := statedir.WriteFile(path, whole('a'+i%26), 0o600); err != nil {
				t.Fatal(err)
			}
			os.Stdout.Write([]byte{'.'})
		}
	}
	path := filepath.Join(t.TempDir(), "file")
	for round := range 25 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "STATEDIR_TEST_WRITE="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1+round*7)); err != nil { // at another moment each time
			t.Fatal(err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(whole(got[0])) {
			t.Fatalf("round %d: a torn file of %d bytes", round, len(got))
		}
		if err := statedir.WriteFile(path, whole('z'), 0o600); err != nil {
			t.Fatalf("round %d: the rest of a killed writer is in the way: %v", round, err)
		}
		entries, _ := os.ReadDir(filepath.Dir(path))
		if len(entries) != 1 {
			t.Fatalf("round %d: left behind: %v", round, entries)
		}
	}
}

func whole(c byte) []byte { return []byte(strings.Repeat(string(c), 300<<10)) }

// TestWriteFileKeepsTheOldFileOnAFullDisk mounts a small file system for it.
func TestWriteFileKeepsTheOldFileOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small tmpfs (root is needed): %v", err)
	}
	defer syscall.Unmount(dir, 0)
	path := filepath.Join(dir, "file")
	if err := statedir.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := statedir.WriteFile(path, make([]byte, 1<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v, want ENOSPC with the path", err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "old" {
		t.Fatalf("old file: %q, %v", got, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Fatalf("left behind: %v", entries)
	}
}

func TestWriteFileGivesTheModeWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o777)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "file")
	if err := statedir.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestRewriteFileKeepsModeAndOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := statedir.RewriteFile(path, []byte("made"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o640), os.Chown(path, 1234, 1235)); err != nil {
		t.Fatal(err)
	}
	if err := statedir.RewriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o640 || st.Uid != 1234 || st.Gid != 1235 {
		t.Errorf("mode %v, owner %d:%d", info.Mode(), st.Uid, st.Gid)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := statedir.RewriteFile(link, []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link is replaced, not what it names: %v", err)
	}
}

func TestVisitFindsADeploymentThatRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if _, _, err := statedir.Visit(path); err == nil {
		t.Error("one that is not there is visited")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a visit makes the directory")
	}
	holder, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	visit, running, err := statedir.Visit(path)
	if err != nil || !running || visit.Path() != path {
		t.Fatalf("while it runs: %v, running %t", err, running)
	}
	if err := errors.Join(visit.Close(), holder.Close()); err != nil {
		t.Fatal(err)
	}
	visit, running, err = statedir.Visit(path)
	if err != nil || running {
		t.Fatalf("while it doesn't: %v, running %t", err, running)
	}
	if _, err := statedir.Open(path); !errors.Is(err, statedir.ErrInUse) {
		t.Errorf("it starts in the middle of a visit: %v", err)
	}
	if err := visit.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRootGivesAFileToTheDirectorysOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("root is needed")
	}
	for _, owner := range []int{0, 61234} {
		dir := t.TempDir()
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "tls.pem")
		if err := statedir.WriteFileForOwner(path, []byte("key"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != owner || int(st.Gid) != owner || info.Mode() != 0o600 {
			t.Errorf("in a directory of %d: %v of %d:%d", owner, info.Mode(), st.Uid, st.Gid)
		}
	}
}
