package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// secretOf runs a secret command on a deployment.
func secretOf(t *testing.T, d *lab.Deployment, args ...string) string {
	t.Helper()
	out, code := lab.Run(t, exec.Command(lab.Redoubt(t), append([]string{"secret", args[0], "--dir", d.Dir}, args[1:]...)...))
	if code != 0 {
		t.Fatalf("redoubt secret %v: exit code %d:\n%s", args, code, out)
	}
	return out
}

// givenPassword is what the application finds in app.env now.
func givenPassword(t *testing.T, d *lab.Deployment) string {
	t.Helper()
	env := read(t, filepath.Join(d.Dir, "app.env"))
	_, rest, _ := strings.Cut(env, "redis://:")
	password, _, found := strings.Cut(rest, "@")
	if !found {
		t.Fatal("app.env has no password")
	}
	return password
}

// isTaken says whether the sidecar takes a password for a new connection.
func isTaken(t *testing.T, d *lab.Deployment, password string) bool {
	t.Helper()
	c := lab.NewClient(t, mustConnect(t, d.Sidecar))
	defer c.Conn.Close()
	switch got := c.Do("AUTH", password); {
	case got == "+OK\r\n":
		return true
	case strings.HasPrefix(got, "-WRONGPASS "):
		return false
	default:
		t.Fatalf("AUTH: %q", got)
		return false
	}
}

// lanes are those of a deployment's sidecar.
func lanes(t *testing.T, d *lab.Deployment) sidecarFacts {
	t.Helper()
	out, _ := lab.Run(t, exec.Command(lab.Redoubt(t), "status", "--dir", d.Dir, "--json"))
	return toldOf(t, out).Facts.Sidecar
}

func TestRotationUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	first := givenPassword(t, d)
	var current atomic.Value // as an application that reads app.env when it is told to
	current.Store(first)
	var stop atomic.Bool
	var done, failed atomic.Int64
	var workers sync.WaitGroup
	var inUse []*atomic.Value // each worker's
	work := func(steps ...[]string) {
		used := new(atomic.Value)
		inUse = append(inUse, used)
		workers.Go(func() {
			pace := newPace()
			defer pace.Stop()
			for !stop.Load() {
				word := current.Load().(string)
				conn, err := net.Dial("tcp", d.Sidecar)
				if err != nil {
					failed.Add(1)
					continue
				}
				c := lab.NewClient(t, conn)
				ok := tryDo(c, "AUTH", word)
				used.Store(word)
				for n := 0; ok && !stop.Load() && word == current.Load() && n < 200; n++ {
					<-pace.C
					for _, step := range steps {
						if ok = ok && tryDo(c, step...); ok {
							done.Add(1)
						}
					}
				}
				if !ok {
					failed.Add(1)
				}
				conn.Close()
			}
		})
	}
	for range 4 { // on shared lanes, on their own, and waiting
		work([]string{"SET", "k", "v"}, []string{"GET", "k"})
		work([]string{"WATCH", "k"}, []string{"MULTI"}, []string{"INCR", "n"}, []string{"EXEC"})
		work([]string{"RPUSH", "jobs", "x"}, []string{"BLPOP", "jobs", "5"})
	}
	moved := func() { // all of them: who still works with a password that ends is cut
		within(t, time.Minute, "every worker to move over", func() bool {
			return failed.Load() > 0 || !slices.ContainsFunc(inUse, func(used *atomic.Value) bool { return used.Load() != current.Load() })
		})
		before := done.Load()
		within(t, time.Minute, "the workers to move over", func() bool { return done.Load() > before+500 || failed.Load() > 0 })
	}
	moved()
	for range 2 {
		old := givenPassword(t, d)
		secretOf(t, d, "rotate", "--overlap", "1h")
		next := givenPassword(t, d)
		if next == old || !isTaken(t, d, old) || !isTaken(t, d, next) {
			t.Fatal("within the overlap one password is refused, or nothing has changed")
		}
		current.Store(next)
		moved()
		secretOf(t, d, "retire")
		within(t, time.Minute, "the old password to be refused", func() bool { return !isTaken(t, d, old) })
		moved()
	}
	// The late cut of connections that can't be told apart must have been, too.
	wait := time.NewTimer(5 * time.Second)
	<-wait.C
	stop.Store(true)
	workers.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed\n%s", failed.Load(), done.Load(), d.Output())
	}
	if out := d.Output(); strings.Contains(out, first) || strings.Contains(out, givenPassword(t, d)) {
		t.Error("a password is in the log")
	}
}

func tryDo(c *lab.Client, args ...string) bool {
	if _, err := c.Conn.Write([]byte(lab.Encode(args...))); err != nil {
		return false
	}
	reply, err := c.TryReply()
	return err == nil && !strings.HasPrefix(reply, "-")
}

// TestAnOldPasswordIsOutSoonAfterItsEnd: for newcomers, for whoever shares a
// lane, and for whoever has one of his own, waits or listens there.
func TestAnOldPasswordIsOutSoonAfterItsEnd(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	old := givenPassword(t, d)
	connect := func(password string) *lab.Client { return lab.Connect(t, d.Sidecar, password) }
	shared, alone, waiting, listening := connect(old), connect(old), connect(old), connect(old)
	shared.Want("+OK\r\n", "SET", "k", "v")
	alone.Want("+OK\r\n", "WATCH", "k")
	listening.Do("SUBSCRIBE", "news")
	waiting.Send(lab.Encode("BLPOP", "nothing", "0"))

	const overlap = 10 * time.Second // in which all that follows has its place
	bound, endsAfter := lab.Promised(t, overlap+6*time.Second), lab.Promised(t, 5*time.Second)
	begun := time.Now()
	secretOf(t, d, "rotate", "--overlap", overlap.String())
	next := givenPassword(t, d)
	stays := connect(next)
	if s := lanes(t, d); s.SharedLanes != 2 || s.LanesLost != 0 {
		t.Errorf("two passwords share a lane: %+v", s)
	}
	out := secretOf(t, d, "list")
	if strings.Count(out, "good until") != 1 || strings.Count(out, "\n") != 2 {
		t.Errorf("redoubt secret list:\n%s", out)
	}
	within(t, time.Minute, "the end", func() bool { return !isTaken(t, d, old) })
	if took, most := time.Since(begun), bound(); took < overlap-2*time.Second || took > most {
		t.Errorf("with an overlap of %s the old password was refused after %s", overlap, took)
	}
	for name, c := range map[string]*lab.Client{"shared": shared, "alone": alone, "waiting": waiting, "listening": listening} {
		ended := time.Now()
		for {
			reply, err := c.TryReply()
			if err != nil {
				break // closed
			}
			if !strings.HasPrefix(reply, "-") {
				t.Errorf("%s: %q", name, reply)
			}
		}
		if took, most := time.Since(ended), endsAfter(); took > most {
			t.Errorf("%s: ended %s after the password did, more than %s", name, took, most)
		}
	}
	stays.Want("$1\r\nv\r\n", "GET", "k")
	if s := lanes(t, d); s.SharedLanes != 1 || s.LanesLost != 1 {
		t.Errorf("the new password's lane was lost with the old password's: %+v", s)
	}
}

// TestAnEngineThatDiesInAnOverlapComesBackWithBoth, and a deployment that is
// started anew as well.
func TestAnEngineThatDiesInAnOverlapComesBackWithBoth(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	old := givenPassword(t, d)
	secretOf(t, d, "rotate")
	next := givenPassword(t, d)
	engines := enginesOf(t, d)
	if err := syscall.Kill(engines[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "another engine", func() bool { e := enginesOf(t, d); return len(e) == 1 && e[0] != engines[0] })
	both := func(d *lab.Deployment) {
		for name, password := range map[string]string{"old": old, "new": next} {
			within(t, time.Minute, "the "+name+" password to be taken", func() bool {
				c := lab.NewClient(t, mustConnect(t, d.Sidecar))
				defer c.Conn.Close()
				return c.Do("AUTH", password) == "+OK\r\n"
			})
		}
	}
	both(d)
	d.Stop()
	// It is not running: the next password is there when it starts.
	d = lab.UpIn(t, d.Dir)
	both(d)
	d.Stop()
	secretOf(t, d, "retire")
	d = lab.UpIn(t, d.Dir)
	if d.Password() != next || isTaken(t, d, old) || !isTaken(t, d, next) {
		t.Error("after a retirement while it was stopped, the passwords are not as they must be")
	}
}

// TestADamagedDigestsFileTakesNoPasswordAway, and its end counts all the same.
func TestADamagedDigestsFileTakesNoPasswordAway(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	password := givenPassword(t, d)
	digests := filepath.Join(d.Dir, "gateway", "password.sha256")
	good := read(t, digests)
	for name, harm := range map[string]func() error{
		"garbage":  func() error { return os.WriteFile(digests, []byte("hunter2\n"), 0o600) },
		"writable": func() error { return os.Chmod(digests, 0o666) },
		"removed":  func() error { return os.Remove(digests) },
	} {
		if err := os.WriteFile(digests, []byte(good), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(digests, 0o600); err != nil {
			t.Fatal(err)
		}
		said := strings.Count(d.Output(), "are not believed")
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		within(t, time.Minute, fmt.Sprintf("the log to tell of a file that is %s", name), func() bool {
			return strings.Count(d.Output(), "are not believed") > said
		})
		if !isTaken(t, d, password) {
			t.Errorf("%s: the password is refused", name)
		}
	}
	out, code := lab.Run(t, exec.Command(lab.Redoubt(t), "secret", "rotate", "--dir", d.Dir))
	if code != 1 || !strings.Contains(out, "password.sha256") || givenPassword(t, d) != password {
		t.Errorf("a rotation without its digests: exit code %d:\n%s", code, out)
	}
	if strings.Contains(d.Output(), "hunter2") {
		t.Error("the log repeats what stood in the file")
	}
}

// TestAPasswordIsRotatedBetweenHosts by the commands of the operations manual,
// without a restart of either end.
func TestAPasswordIsRotatedBetweenHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gateway, _ := s.gateway(), s.sidecar(s.web)
	if got := s.app("SET", "k", "v"); got != "OK" {
		t.Fatal(got)
	}
	appEnv, oldEnv := s.path("secret", "app.env"), s.path("secret", "old.env")
	if err := os.WriteFile(oldEnv, []byte(read(t, appEnv)), 0o600); err != nil {
		t.Fatal(err)
	}
	digests := s.path("secret", "password.sha256")
	s.redoubt("secret", "rotate", "--digests", digests, "--overlap", "1h", "--out", appEnv)
	oldURL := strings.TrimPrefix(strings.TrimSpace(read(t, oldEnv)), "REDIS_URL=")
	get := func(url string) string { // redis-cli says WRONGPASS and goes on without
		out, _ := lab.Run(t, s.web.Command("redis-cli", "--no-auth-warning", "-u", url, "GET", "k"))
		return out
	}
	newURL := strings.TrimPrefix(strings.TrimSpace(read(t, appEnv)), "REDIS_URL=")
	within(t, time.Minute, "the new password to be taken", func() bool { return get(newURL) == "v\n" })
	if got := get(oldURL); got != "v\n" {
		t.Errorf("the old password within the overlap: %q", got)
	}
	s.redoubt("secret", "retire", "--digests", digests)
	within(t, time.Minute, "the old password to be refused", func() bool { return strings.Contains(get(oldURL), "WRONGPASS") })
	if got := get(newURL); got != "v\n" {
		t.Errorf("the new password behind the overlap: %q", got)
	}
	within(t, time.Minute, "the gateway's log to tell of both changes", func() bool { return strings.Count(gateway.Output(), "passwords have changed") == 2 })
}
