package sidecar

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyLoopbackIsListenedOnUnlessToldSo(t *testing.T) {
	l := &lanes{}
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0", "127.0.0.1", "[::ffff:192.0.2.1]:0"} {
		if car, err := New(Options{Listen: address, Gateways: one(l.dial)}); err == nil {
			t.Errorf("%s: listens on %v", address, car.Addr())
		}
	}
	for _, o := range []Options{{Listen: "127.0.0.1:0"}, {Listen: "localhost:0"}, {Listen: "127.9.9.9:0"}, {Listen: "0.0.0.0:0", AllowNonLoopback: true}} {
		o.Gateways = one(l.dial)
		startSidecar(t, o)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = New(Options{Listen: taken.Addr().String(), Gateways: one((&lanes{}).dial)})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("error: %v", err)
	}
}

// openDir is a directory that other users can pass.
func openDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "redoubt-sidecar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// as runs redis-cli as another user and returns what it says.
func as(t *testing.T, uid uint32, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "redis-cli", append([]string{"--no-auth-warning", "-a", password}, args...)...)
	cmd.Env = []string{"HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, _ := cmd.CombinedOutput() // a refusal is an error too, and its text is what counts
	return strings.TrimSpace(string(out))
}

const nobody, somebody = 65534, 65533

// TestOnlyAllowedUsersMayConnect tries real users on both listeners.
func TestOnlyAllowedUsersMayConnect(t *testing.T) {
	var log journal
	l := &lanes{socket: startEngine(t)}
	socket := filepath.Join(openDir(t), "redis.sock")
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Log: logTo(&log), AllowUIDs: []int{nobody}, Unix: &UnixListener{Path: socket, AllowUIDs: []int{nobody}}})
	_, port, err := net.SplitHostPort(car.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, where := range map[string][]string{"unix": {"-s", socket}, "tcp": {"-p", port}, "tcp, mapped": {"-h", "::ffff:127.0.0.1", "-p", port}} {
		if got := as(t, nobody, append(where, "PING")...); got != "PONG" {
			t.Errorf("%s: an allowed user got %q", name, got)
		}
		for _, uid := range []uint32{0, somebody} {
			if got := as(t, uid, append(where, "PING")...); strings.Contains(got, "PONG") {
				t.Errorf("%s: user %d got %q", name, uid, got)
			}
		}
	}
	if got := dialAs(t, "tcp", car.Addr().String()).rest(); got != errorLine(errUser) {
		t.Errorf("who isn't allowed is told %q", got)
	}
	if !strings.Contains(log.String(), "uid=65533") {
		t.Errorf("the log has no uid: %.500s", log.String())
	}
}

func TestASocketsModeIsAsAsked(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	for _, c := range []struct {
		listener UnixListener
		mode     os.FileMode
		others   string // what another user gets
	}{
		{UnixListener{}, 0o600, "Permission denied"},
		{UnixListener{Mode: 0o660}, 0o660, "Permission denied"},
		{UnixListener{Mode: 0o666}, 0o666, "PONG"},
		{UnixListener{AllowUIDs: []int{somebody}}, 0o666, "DENIED"},
	} {
		c.listener.Path = filepath.Join(openDir(t), "s")
		startSidecar(t, Options{Gateways: one(l.dial), Unix: &c.listener})
		info, err := os.Stat(c.listener.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != c.mode {
			t.Errorf("%+v: mode %o, want %o", c.listener, got, c.mode)
		}
		// redis-cli may find the refused connection closed before it reads.
		if got := as(t, nobody, "-s", c.listener.Path, "PING"); !strings.Contains(got, c.others) && (c.others != "DENIED" || strings.Contains(got, "PONG")) {
			t.Errorf("%+v: another user got %q, want %q", c.listener, got, c.others)
		}
	}
}

func TestAStaleSocketIsReplacedAndNothingElse(t *testing.T) {
	l := &lanes{}
	path := filepath.Join(t.TempDir(), "s")
	try := func() error {
		car, err := New(Options{Listen: "127.0.0.1:0", Gateways: one(l.dial), Unix: &UnixListener{Path: path}})
		if err == nil {
			for _, l := range car.listeners {
				l.close()
			}
			car.loops[0].deafen()
		}
		return err
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file in the way: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file in the way: %q, %v", b, err)
	}
	os.Remove(path)
	live, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := try(); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), path) {
		t.Errorf("a live socket: %v", err)
	}
	live.SetUnlinkOnClose(false)
	live.Close()
	if err := try(); err != nil {
		t.Errorf("a stale socket: %v", err)
	}
}

// TestTheOwnerOfAConnectionIsTheKernels asks about connections of this process
// over both families, and about one whose other end is gone.
func TestTheOwnerOfAConnectionIsTheKernels(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if uid, err := uidOfTCP(in); err != nil || uid != os.Getuid() {
			t.Errorf("%s: uid %d, %v", address, uid, err)
		}
		out.(*net.TCPConn).SetLinger(0) // a reset: nothing remains of it
		out.Close()
		if uid, err := uidOfTCP(in); err == nil {
			t.Errorf("%s: a connection whose other end is gone belongs to %d", address, uid)
		}
		in.Close()
		l.Close()
	}
}

// FuzzDiagUID: whatever an answer holds, no panic; and only one about the very
// connection tells a user.
func FuzzDiagUID(f *testing.F) {
	src, dst := netip.MustParseAddrPort("127.0.0.1:5"), netip.MustParseAddrPort("127.0.0.1:6")
	good := make([]byte, diagUIDAt+4)
	good[4] = 20 // SOCK_DIAG_BY_FAMILY
	copy(good[diagSockID:], diagRequest(src, dst)[nlHeader+8:])
	if uid, err := diagUID(good, src, dst); err != nil || uid != 0 {
		f.Fatalf("the good answer: %d, %v", uid, err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := diagUID(b, src, dst); err == nil && string(b[diagSockID:diagSockID+4]) != string([]byte{0, 5, 0, 6}) {
			t.Fatalf("%x tells a user", b)
		}
	})
}

// TestAUnixSocketThatWasFullGoesOn: the poller tells that such a socket has room only
// when it is asked to.
func TestAUnixSocketThatWasFullGoesOn(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	socket := filepath.Join(t.TempDir(), "app.sock")
	startSidecar(t, Options{Gateways: one(l.dial), Unix: &UnixListener{Path: socket}})
	c := dialUnix(t, socket).login()
	value := strings.Repeat("v", 100<<10)
	c.expect("+OK\r\n", "SET", "k", value)
	c.expect("+OK\r\n", "SET", "small", "v")
	want := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	for range 2 { // full, with room, and full again
		const asked = 20
		for range asked {
			c.send("GET", "k")
		}
		for range asked {
			if c.reply() != want {
				t.Fatal("not what was set")
			}
		}
	}
	c.expect("$1\r\nv\r\n", "GET", "small")
}
