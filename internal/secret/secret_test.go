package secret

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// made is the files of a deployment with its first password.
func made(t *testing.T) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{Digests: filepath.Join(dir, "password.sha256"), AppEnv: filepath.Join(dir, "app.env"), Address: "127.0.0.1:6379"}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	f.Password = filepath.Join(dir, "app.password")
	if err := statedir.WriteFile(f.Password, []byte(f.hasGiven(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// hasGiven is the password that the application has.
func (f Files) hasGiven(t *testing.T) string {
	t.Helper()
	pw, err := f.given()
	if err != nil {
		t.Fatal(err)
	}
	return pw
}

func (f Files) set(t *testing.T) passwords.Set {
	t.Helper()
	set, err := Read(f.Digests)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// works says whether the application's password, and the one that is kept, are
// good and stay so.
func (f Files) works(t *testing.T, when string) {
	t.Helper()
	kept, err := statedir.ReadPassword(f.Password)
	if err != nil {
		t.Fatal(err)
	}
	for name, pw := range map[string]string{"app.env": f.hasGiven(t), "the kept one": kept} {
		if until, has := f.set(t).Has(passwords.Of([]byte(pw))); !has || !until.IsZero() {
			t.Errorf("%s: the password of %s is in the digests: %t, until %s", when, name, has, until)
		}
	}
}

func TestRotateReplacesThePasswordWithAnOverlap(t *testing.T) {
	f := made(t)
	before := f.hasGiven(t)
	done, err := f.Rotate(24*time.Hour, noon, nil)
	if err != nil {
		t.Fatal(err)
	}
	after := f.hasGiven(t)
	set := f.set(t)
	until, has := set.Has(passwords.Of([]byte(before)))
	if after == before || len(set) != 2 || !has || !until.Equal(noon.Add(24*time.Hour)) || done.Name != passwords.Of([]byte(after)).Name() {
		t.Fatalf("%+v: %v", done, set)
	}
	f.works(t, "rotated")
	if ended, err := f.Retire(); err != nil || ended != 1 || len(f.set(t)) != 1 {
		t.Errorf("Retire: %d, %v", ended, err)
	}
	f.works(t, "retired")
	if _, err := f.Retire(); err == nil {
		t.Error("there is no overlap, and Retire says nothing")
	}
	if _, err := f.Rotate(0, noon, nil); err != nil || len(f.set(t)) != 1 || f.hasGiven(t) == after {
		t.Errorf("without an overlap: %v, %v", f.set(t), err)
	}
}

func TestARotationKeepsWhatIsNotItsOwn(t *testing.T) {
	f := made(t)
	const env = "A=1\nREDIS_URL=rediss://:%s@cache.example:7000/3?x=y\r\n# REDIS_URL=no\nB=2"
	if err := os.WriteFile(f.AppEnv, []byte(strings.Replace(env, "%s", f.hasGiven(t), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.AppEnv, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(f.AppEnv, 1234, 1235); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Rotate(time.Hour, noon, nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.AppEnv)
	if err != nil || string(got) != strings.Replace(env, "%s", f.hasGiven(t), 1) {
		t.Errorf("%q, %v", got, err)
	}
	info, err := os.Stat(f.AppEnv)
	if st := info.Sys().(*syscall.Stat_t); err != nil || info.Mode().Perm() != 0o640 || st.Uid != 1234 || st.Gid != 1235 {
		t.Errorf("mode %v, owner %d:%d: its reader can't read the new one", info.Mode(), st.Uid, st.Gid)
	}
	for _, bad := range []string{"A=1\n", env + "\n" + env, "REDIS_URL=redis://" + "hunter2\x7f@\n"} {
		if err := os.WriteFile(f.AppEnv, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		set := f.set(t)
		if _, err := f.Rotate(time.Hour, noon, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
		if !slices.Equal(f.set(t), set) {
			t.Errorf("%q: refused, and yet the digests have changed", bad)
		}
	}
}

// TestACutRotationLeavesAPasswordThatWorks ends it behind each of its steps, and
// then runs it again.
func TestACutRotationLeavesAPasswordThatWorks(t *testing.T) {
	asked := func(string) error { return nil }
	fresh := statedir.NewPassword()
	count := len(made(t).steps(nil, fresh, noon, noon, asked))
	if count != 5 {
		t.Fatalf("%d steps", count)
	}
	for cut := range count {
		f := made(t)
		for _, s := range f.steps(f.set(t), fresh, noon.Add(time.Hour), noon, asked)[:cut] {
			if err := s.do(); err != nil {
				t.Fatal(err)
			}
			f.works(t, "behind "+s.name)
		}
		if _, err := f.Rotate(time.Hour, noon, asked); err != nil {
			t.Fatalf("cut at %d, again: %v", cut, err)
		}
		f.works(t, "run again")
		for _, e := range f.set(t) {
			if e.Until.IsZero() != (e.Digest == passwords.Of([]byte(f.hasGiven(t)))) {
				t.Errorf("cut at %d: after another rotation %s has the end %s", cut, e.Digest.Name(), e.Until)
			}
		}
	}
}

func TestACacheThatDoesNotTakeThePasswordStopsTheRotation(t *testing.T) {
	f := made(t)
	before := f.hasGiven(t)
	if _, err := f.Rotate(time.Hour, noon, func(string) error { return os.ErrDeadlineExceeded }); err == nil {
		t.Fatal("no error")
	}
	if f.hasGiven(t) != before {
		t.Error("the application was given a password that the cache has not taken")
	}
	f.works(t, "stopped")
}

// TestAKilledRotationLeavesAPasswordThatWorks kills a process that rotates over
// and over.
func TestAKilledRotationLeavesAPasswordThatWorks(t *testing.T) {
	if dir := os.Getenv("SECRET_TEST_ROTATE"); dir != "" {
		f := Files{Digests: filepath.Join(dir, "password.sha256"), AppEnv: filepath.Join(dir, "app.env"), Password: filepath.Join(dir, "app.password")}
		for {
			os.Stdout.Write([]byte{'.'})
			if _, err := f.Rotate(0, noon, nil); err != nil { // no overlap: what is lost is lost at once
				t.Fatal(err)
			}
		}
	}
	f := made(t)
	for round := range 25 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "SECRET_TEST_ROTATE="+filepath.Dir(f.Digests))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1+round%3)); err != nil { // it has begun
			t.Fatal(err)
		}
		late := time.NewTimer(time.Duration(round) * 400 * time.Microsecond) // and is elsewhere each time
		<-late.C
		cmd.Process.Kill()
		cmd.Wait()
		f.works(t, "killed")
		if len(f.set(t)) > 3 { // given, kept, and the one being made
			t.Fatalf("round %d: the digests pile up: %d", round, len(f.set(t)))
		}
	}
	if _, err := f.Rotate(0, noon, nil); err != nil || len(f.set(t)) != 1 {
		t.Errorf("another rotation: %v, %d digests", err, len(f.set(t)))
	}
}

func TestTwoRotationsDoNotMix(t *testing.T) {
	f := made(t)
	_, err := f.Rotate(time.Hour, noon, func(string) error {
		for name, attempt := range map[string]func() error{
			"rotate": func() error { _, err := f.Rotate(time.Hour, noon, nil); return err },
			"retire": func() error { _, err := f.Retire(); return err },
		} {
			if err := attempt(); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Errorf("%s while another rotates: %v", name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAFileThatCantBeBelievedChangesNothing does to the digests file what
// happens to files, and sees the last good passwords stay, and one clear line.
func TestAFileThatCantBeBelievedChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(f Files) error
		says string
	}{
		"removed":        {func(f Files) error { return os.Remove(f.Digests) }, "no such file"},
		"empty":          {func(f Files) error { return os.Truncate(f.Digests, 0) }, "is empty"},
		"half":           {func(f Files) error { return os.Truncate(f.Digests, 40) }, "half-written"},
		"no line end":    {func(f Files) error { return os.Truncate(f.Digests, 64) }, "half-written"},
		"garbage":        {func(f Files) error { return os.WriteFile(f.Digests, []byte("hunter2\n\x00\xff"), 0o644) }, "line 1 is not a SHA-256"},
		"a password":     {func(f Files) error { return os.WriteFile(f.Digests, []byte("hunter2\n"), 0o644) }, "line 1"},
		"large":          {func(f Files) error { return os.Truncate(f.Digests, 1<<30) }, "larger than"},
		"world-writable": {func(f Files) error { return os.Chmod(f.Digests, 0o646) }, "chmod 644"},
		"group-writable": {func(f Files) error { return os.Chmod(f.Digests, 0o664) }, "chmod 644"},
		"another's":      {func(f Files) error { return os.Chown(f.Digests, 1234, 0) }, "uid 1234"},
		"a directory":    {func(f Files) error { return replace(f.Digests, func(p string) error { return os.Mkdir(p, 0o755) }) }, "not a regular file"},
		"a pipe": {func(f Files) error {
			return replace(f.Digests, func(p string) error { return syscall.Mkfifo(p, 0o644) })
		}, "not a regular file"},
		"a dangling link": {func(f Files) error {
			return replace(f.Digests, func(p string) error { return os.Symlink("nowhere", p) })
		}, "no such file"},
		"all with an end": {func(f Files) error {
			set, err := Read(f.Digests)
			if err != nil {
				return err
			}
			return os.WriteFile(f.Digests, set.EndOthers(noon).Format(), 0o644)
		}, "without an end"},
	} {
		t.Run(name, func(t *testing.T) {
			f := made(t)
			var log bytes.Buffer
			follower, err := Follow(f.Digests, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(f.Digests)
			want := f.set(t).Good(noon)
			if err := c.harm(f); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got := follower.Good(); !slices.Equal(got, want) {
					t.Errorf("the passwords are %v now", got)
				}
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), c.says) || strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log must say once %q:\n%s", c.says, log.String())
			}
			if _, err := Follow(f.Digests, slog.New(slog.DiscardHandler)); err == nil {
				t.Error("a gateway would start with it")
			}
			os.RemoveAll(f.Digests)
			next := passwords.Of([]byte("next"))
			if err := statedir.WriteFile(f.Digests, append(data, passwords.Set{{Digest: next}}.Format()...), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := follower.Good(); len(got) != 2 || got[1] != next {
				t.Errorf("mended, the passwords are %v", got)
			}
			if !strings.Contains(log.String(), "believed again") {
				t.Error("the log does not say that it is mended")
			}
		})
	}
}

func replace(path string, with func(string) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with(path)
}

// TestAClockThatIsSetBackBringsNoPasswordBack: nor does it with a monotonic
// reading, by which the earlier time would be the later one.
func TestAClockThatIsSetBackBringsNoPasswordBack(t *testing.T) {
	old, next := passwords.Of([]byte("old")), passwords.Of([]byte("next"))
	f := &Follower{set: passwords.Set{{Digest: old, Until: noon}, {Digest: next}}}
	for _, step := range []struct {
		at   time.Duration
		good int
	}{{-time.Hour, 2}, {-time.Second, 2}, {0, 1}, {-time.Hour, 1}, {time.Hour, 1}, {-1000 * time.Hour, 1}} {
		if got := f.at(noon.Add(step.at)); len(got) != step.good {
			t.Errorf("at %s from the end: %d good, want %d", step.at, len(got), step.good)
		}
	}
}

func TestAFullDiskChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k,mode=700"); err != nil {
		t.Fatalf("mount a small tmpfs (root is needed): %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	f := Files{Digests: filepath.Join(dir, "d"), AppEnv: filepath.Join(dir, "e"), Password: filepath.Join(dir, "p"), Address: "127.0.0.1:1"}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	if err := statedir.WriteFile(f.Password, []byte(f.hasGiven(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 4<<10), 0o600); err != nil { // the last page
		t.Fatal(err)
	}
	if _, err := f.Rotate(0, noon, nil); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("Rotate: %v", err)
	}
	f.works(t, "on a full disk")
}
