package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// follows is a gateway and a sidecar on loopback whose files a test changes while they run.
type follows struct {
	*lab.Site
	t       *testing.T
	app     string // the application's Redis
	gateway *lab.Process
	sidecar *lab.Process
}

// settings are what of gateway.yaml a test changes.
type settings struct {
	listen, admit, allow, memory string
	connections                  int
	more                         string
}

func newFollows(t *testing.T) (*follows, settings) {
	t.Helper()
	s := &follows{Site: lab.NewSite(t, "cache"), t: t, app: lab.FreeAddress(t)}
	given := settings{listen: s.Address, admit: "127.0.0.1/32", allow: "scripting", memory: "64mb", connections: 500}
	s.write(given)
	s.begin()
	s.sidecar = s.start("sidecar", s.Sidecar(s.app, "admin: {socket: sidecar.sock}"))
	return s, given
}

func (s *follows) begin() { s.gateway = s.start("gateway", s.Gateway()) }

func (s *follows) start(role, file string) *lab.Process {
	// Whoever runs these tests may ignore SIGHUP, which children inherit, or sit at a
	// terminal, which may hang up.
	cmd := exec.Command("env", "--default-signal=HUP", lab.Redoubt(s.t), role, "--config", file, "--log-format", "text")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return lab.Start(s.t, cmd, "msg=ready")
}

func (s *follows) write(c settings) {
	s.t.Helper()
	text := fmt.Sprintf(`deployment: clinic
name: cache
listen: %s
admit: [%s]
tls: {certificate: cache/tls.pem, ca: cache/ca.crt}
admin: {socket: gateway.sock}
limits: {connections: %d}
engine: {password_digests: password.sha256, allow: [%s], memory: %s, max_value: 4mb}
%s`, c.listen, c.admit, c.connections, c.allow, c.memory, c.more)
	// Whole or not at all, as automation writes it.
	fresh := s.Gateway() + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(fresh, s.Gateway()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *follows) reload(args ...string) (out string, code int) {
	s.t.Helper()
	return lab.Run(s.t, exec.Command(lab.Redoubt(s.t), append([]string{"reload", "--config", s.Gateway()}, args...)...))
}

// answer is what redoubt reload --json prints.
type answer struct {
	Changed, Waiting       []struct{ Key, Before, After, Restart string }
	Restart, Configuration string
}

func (s *follows) tells(args ...string) (a answer) {
	s.t.Helper()
	out, code := s.reload(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
		s.t.Fatalf("%d, %v: %s", code, err, out)
	}
	return a
}

func (a answer) keys() (changed, waiting string) {
	for _, c := range a.Changed {
		changed += c.Key + " "
	}
	for _, c := range a.Waiting {
		waiting += c.Key + " "
	}
	return strings.TrimSpace(changed), strings.TrimSpace(waiting)
}

// running is what status tells of the gateway.
type running struct {
	Configuration string
	Engine        struct{ PID, Restarts int }
	Gateway       struct {
		Most int `json:"connections_limit"`
	}
}

func (s *follows) runs() running {
	s.t.Helper()
	out, _ := lab.Run(s.t, exec.Command(lab.Redoubt(s.t), "status", "--socket", filepath.Join(s.Dir, "gateway.sock"), "--json"))
	var found []struct{ Facts running }
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&found); err != nil || len(found) != 1 {
		s.t.Fatalf("%v: %s", err, out)
	}
	return found[0].Facts
}

const evalRan = "$3\r\nran\r\n"

// TestAGatewayFollowsItsFile: what is taken away is refused on connections of before, the
// cache stays, and what can't change is named.
func TestAGatewayFollowsItsFile(t *testing.T) {
	t.Parallel()
	s, given := newFollows(t)
	c := lab.Connect(t, s.app, s.Password)
	c.Want("+OK\r\n", "SET", "k", "kept")
	script := []string{"EVAL", "return 'ran'", "0"}
	c.Want(evalRan, script...)
	before := s.runs()

	next := given
	next.allow, next.memory, next.connections, next.listen = "", "128mb", 600, "127.0.0.1:1"
	next.more = "exceptions: [{check: RD-441, owner: x, reason: y, until: 2100-01-01}]\n"
	s.write(next)
	const changes, waits = "limits.connections engine.allow engine.memory exceptions", "listen"
	if changed, waiting := s.tells("--dry-run").keys(); changed != changes || waiting != waits {
		t.Errorf("a dry run: %q, %q", changed, waiting)
	}
	if now := s.runs(); now != before {
		t.Errorf("a dry run changed %+v to %+v", before, now)
	}
	c.Want(evalRan, script...)

	a := s.tells()
	if changed, waiting := a.keys(); changed != changes || waiting != waits || a.Waiting[0].Restart == "" || !strings.Contains(a.Restart, "the cache starts empty") {
		t.Errorf("%+v", a)
	}
	if got := c.Do(script...); !strings.HasPrefix(got, "-NOPERM") {
		t.Errorf("a right that was taken away, on a connection of before: %q", got)
	}
	c.Want("$4\r\nkept\r\n", "GET", "k")
	now := s.runs()
	if now.Gateway.Most != 600 || now.Engine != before.Engine || now.Configuration == before.Configuration || now.Configuration != a.Configuration {
		t.Errorf("before %+v, now %+v, told %s", before, now, a.Configuration)
	}
	if out, code := s.reload(); code != 0 || strings.Contains(out, "engine.") || !strings.Contains(out, "needs a restart") || !strings.Contains(out, "the port is opened at a start") {
		t.Errorf("once more: %d\n%s", code, out)
	}

	s.write(given)
	s.gateway.Signal(syscall.SIGHUP)
	within(t, time.Minute, "SIGHUP", func() bool { return strings.Count(s.gateway.Output(), "read anew") == 3 })
	c.Want(evalRan, script...)
	if now := s.runs(); now != before {
		t.Errorf("as before it would be %+v, it is %+v", before, now)
	}

	// An application host's network goes: it is cut, and gets in no more.
	next = given
	next.admit = "127.0.0.9/32"
	s.write(next)
	s.tells()
	within(t, time.Minute, "the cut", func() bool { return strings.Contains(s.gateway.Output(), "cut: its network is not admitted") })
	c.Send(lab.Encode("GET", "k"))
	if got, err := c.TryReply(); err == nil && !strings.HasPrefix(got, "-") { // else it has ended: it had used a script
		t.Errorf("from a network that is not admitted: %q", got)
	}
	s.write(given)
	s.tells()
	within(t, time.Minute, "the network is admitted again", func() bool {
		got := lab.Connect(t, s.app, "").Do("AUTH", s.Password)
		return got == "+OK\r\n"
	})
	lab.Connect(t, s.app, s.Password).Want("$4\r\nkept\r\n", "GET", "k")

	files, err := filepath.Glob(filepath.Join(s.Dir, "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	record := ""
	for _, file := range files {
		record += read(t, file)
	}
	if strings.Count(record, `"command":"reload"`) < 4 || !strings.Contains(record, s.Gateway()) || strings.Contains(record, "dry-run") {
		t.Errorf("on record: %s", record)
	}
}

// TestAWrongFileChangesNothing, says where it is wrong, and what was in force stays.
func TestAWrongFileChangesNothing(t *testing.T) {
	t.Parallel()
	s, given := newFollows(t)
	c := lab.Connect(t, s.app, s.Password)
	before := s.runs()
	for _, wrong := range []struct {
		settings func(*settings)
		says     string
	}{
		{func(w *settings) { w.more = "lissten: x\n" }, "gateway.yaml:9: lissten is no key of ours"},
		{func(w *settings) { w.allow = "rocketry" }, "gateway.yaml:8: engine.allow: allow cannot name"},
		{func(w *settings) { w.memory = "1mb" }, "gateway.yaml:8: engine.memory"},
		{func(w *settings) { w.memory = "15tb" }, "but this machine"},
		{func(w *settings) { w.admit = "127.0.0.1/33" }, "gateway.yaml:4: admit[0]"},
		{func(w *settings) { w.admit = "127.0.0.1/32]\n: [" }, "not YAML"},
	} {
		// What is right in the file isn't taken in either.
		next := given
		next.connections, next.allow = 7, ""
		wrong.settings(&next)
		s.write(next)
		for _, args := range [][]string{nil, {"--dry-run"}, {"--json"}, {"--socket", filepath.Join(s.Dir, "gateway.sock")}} {
			cmd := append([]string{"reload"}, args...)
			if !slices.Contains(args, "--socket") {
				cmd = append(cmd, "--config", s.Gateway())
			}
			out, code := lab.Run(t, exec.Command(lab.Redoubt(t), cmd...))
			if code != 2 || !strings.Contains(out, wrong.says) {
				t.Errorf("%q, %q: %d\n%s", args, wrong.says, code, out)
			}
		}
		c.Want(evalRan, "EVAL", "return 'ran'", "0")
	}
	s.gateway.Signal(syscall.SIGHUP)
	within(t, time.Minute, "SIGHUP", func() bool {
		return strings.Contains(s.gateway.Output(), "what was in force stays")
	})
	if now := s.runs(); now != before {
		t.Errorf("before %+v, now %+v", before, now)
	}
}

// TestReloadsComeOneAfterTheOther, and what is in force at the end is one of the files,
// whole.
func TestReloadsComeOneAfterTheOther(t *testing.T) {
	t.Parallel()
	s, given := newFollows(t)
	one, other := given, given
	one.connections, one.allow, one.memory = 601, "", "70mb"
	other.connections, other.allow, other.memory = 602, "scripting, functions", "80mb"
	for range 5 {
		var asking sync.WaitGroup
		for _, c := range []settings{one, other, one, other} {
			s.write(c)
			asking.Go(func() {
				if out, code := s.reload(); code != 0 {
					t.Errorf("%d: %s", code, out)
				}
			})
		}
		asking.Wait()
		if changed, _ := s.tells("--dry-run").keys(); changed != "" {
			t.Errorf("of the last file it lacks %s", changed)
		}
		s.whole()
	}

	// Killed in the middle, at whatever moment: the next start has one file, whole.
	for round := range 4 {
		s.write([]settings{one, other}[round%2])
		cmd := exec.Command(lab.Redoubt(t), "reload", "--config", s.Gateway())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.gateway.Signal(syscall.SIGKILL)
		s.gateway.Wait()
		cmd.Wait()
		s.begin()
		if a := s.tells("--dry-run"); len(a.Changed)+len(a.Waiting) > 0 {
			t.Errorf("after the kill it lacks %+v", a)
		}
		s.whole()
	}
}

// whole holds what is in force against itself: the limit tells whose file it is.
func (s *follows) whole() {
	s.t.Helper()
	scripts := s.runs().Gateway.Most == 602
	var got string
	within(s.t, time.Minute, "the cache", func() bool {
		c := lab.Connect(s.t, s.app, "")
		defer c.Conn.Close()
		if c.Do("AUTH", s.Password) != "+OK\r\n" {
			return false
		}
		got = c.Do("EVAL", "return 'ran'", "0")
		return got == evalRan || strings.HasPrefix(got, "-NOPERM")
	})
	if (got == evalRan) != scripts {
		s.t.Errorf("scripts: %q, with a limit of %d", got, s.runs().Gateway.Most)
	}
}

// TestASidecarFollowsItsFile: its limits and its fence, and applications stay.
func TestASidecarFollowsItsFile(t *testing.T) {
	t.Parallel()
	s, _ := newFollows(t)
	c := lab.Connect(t, s.app, s.Password)
	c.Want("+OK\r\n", "SET", "k", "kept")
	file := s.Sidecar(s.app, "admin: {socket: sidecar.sock}", "limits: {connections: 1}", "fence: session", "loops: 2")
	reload := func() (string, int) {
		return lab.Run(t, exec.Command(lab.Redoubt(t), "reload", "--config", file))
	}
	if out, code := reload(); code != 0 || !strings.Contains(out, "limits.connections: 10000 -> 1") || !strings.Contains(out, "fence: batch -> session") || !strings.Contains(out, "loops: 1 -> 2 (") {
		t.Errorf("%d\n%s", code, out)
	}
	second := lab.Connect(t, s.app, "")
	second.Conn.SetDeadline(time.Now().Add(time.Minute))
	if got, err := second.TryReply(); !strings.HasPrefix(got, "-ERR max number of clients") {
		t.Errorf("one more than there may be: %q, %v", got, err)
	}
	c.Want("$4\r\nkept\r\n", "GET", "k")
	s.Sidecar(s.app, "admin: {socket: sidecar.sock}", "gateways: x")
	if out, code := reload(); code != 2 || !strings.Contains(out, "stands twice") {
		t.Errorf("%d\n%s", code, out)
	}
	s.Sidecar(s.app, "admin: {socket: sidecar.sock}")
	if out, code := reload(); code != 0 {
		t.Errorf("%d\n%s", code, out)
	}
	lab.Connect(t, s.app, s.Password).Want("$4\r\nkept\r\n", "GET", "k")
	c.Want("$4\r\nkept\r\n", "GET", "k")
}

// TestOnlyRootAndItsUserMayHaveItReload, also where the socket was opened to all.
func TestOnlyRootAndItsUserMayHaveItReload(t *testing.T) {
	t.Parallel()
	s, given := newFollows(t)
	socket := filepath.Join(s.Dir, "gateway.sock")
	for dir := s.Dir; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o005 != 0o005 {
			if err := os.Chmod(dir, info.Mode().Perm()|0o005); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	given.connections = 7
	s.write(given)
	nobody := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", lab.Redoubt(t), "reload", "--dry-run", "--socket", socket)
	if out, code := lab.Run(t, nobody); code == 0 || !strings.Contains(out, "own user alone may ask for that") {
		t.Errorf("%d: %s", code, out)
	}
	nobody = exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
		"import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'POST /reload HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())", socket)
	if out, code := lab.Run(t, nobody); code != 0 || !strings.Contains(out, "own user alone may ask for that") {
		t.Errorf("%d: %s", code, out)
	}
	if now := s.runs(); now.Gateway.Most == 7 {
		t.Error("nobody had it changed")
	}
	d := lab.Up(t)
	if out, code := lab.Run(t, exec.Command(lab.Redoubt(t), "reload", "--socket", filepath.Join(d.Dir, "admin.sock"))); code == 0 || !strings.Contains(out, "has no configuration file") {
		t.Errorf("up: %d\n%s", code, out)
	}
}
