//go:build linux

package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// A taken front does what it is told, by whoever connects to its port: this file's is one,
// in the place and in the sandbox of the real one.

// loot is what it is to try.
type loot struct {
	Files        []string // to read
	Keeper       int
	Engine       int
	EngineSocket string
	Say          []string // messages to the keeper, as they stand
}

// took is what it got: errors by what was tried.
type took struct {
	Errors map[string]string
	Lanes  int // connections to the engine that it holds at last
}

const afterAll = "nothing refused it"

func beTaken() int {
	keeper, err := connOf(sandbox.FirstFile, "keeper")
	if err != nil {
		return 10
	}
	_, files, err := receive(keeper)
	if err != nil || len(files) != 2 {
		return 11
	}
	listener, err := net.FileListener(files[1])
	if err != nil {
		return 12
	}
	keeper.Write([]byte(`{"kind":"ready"}`))
	for {
		conn, err := listener.Accept()
		if err != nil {
			return 13
		}
		var l loot
		if json.NewDecoder(conn).Decode(&l) != nil {
			conn.Close()
			continue
		}
		for _, text := range l.Say {
			keeper.Write([]byte(text))
		}
		json.NewEncoder(conn).Encode(rob(l, keeper))
	}
}

func rob(l loot, keeper *net.UnixConn) took {
	out := took{Errors: map[string]string{}}
	try := func(what string, err error) {
		out.Errors[what] = afterAll
		if err != nil {
			out.Errors[what] = err.Error()
		}
	}
	for _, path := range l.Files {
		_, err := os.ReadFile(path)
		try("read "+path, err)
		try("write "+path, os.WriteFile(path, nil, 0o600))
		_, err = os.ReadDir(filepath.Dir(path))
		try("list "+filepath.Dir(path), err)
	}
	_, err := net.Dial("unix", l.EngineSocket)
	try("connect to the engine", err)
	_, err = net.Dial("tcp", "127.0.0.1:1")
	try("connect elsewhere", err)
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen", err)
	try("execute", exec.Command("/bin/true").Run())
	for who, pid := range map[string]int{"keeper": l.Keeper, "engine": l.Engine} {
		try("signal the "+who, unix.Kill(pid, 0))
		try("trace the "+who, unix.PtraceAttach(pid))
		_, err := unix.PidfdOpen(pid, 0)
		try("take hold of the "+who, err)
		_, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		try("read the environment of the "+who, err)
		_, err = os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		try("open the memory of the "+who, err)
		_, err = os.Open(fmt.Sprintf("/proc/%d/root", pid))
		try("enter the root of the "+who, err)
	}
	_, _, err = keeper.WriteMsgUnix([]byte("{}"), unix.UnixRights(0), nil)
	try("send a descriptor", err)
	_, err = unix.MemfdCreate("x", 0)
	try("make a file in memory", err)
	out.Lanes = hoard(keeper)
	return out
}

// hoard asks for connections to the engine until there are no more to be had.
func hoard(keeper *net.UnixConn) (held int) {
	keeper.SetReadDeadline(time.Now().Add(patience))
	for number := uint64(1); number < 5000; number++ {
		text, _ := json.Marshal(toKeeper{Kind: kindLane, Number: number})
		if _, err := keeper.Write(text); err != nil {
			return held
		}
		for {
			m, files, err := receive(keeper)
			if err != nil {
				return held
			}
			if m.Kind != kindLane {
				continue
			}
			if len(files) == 0 {
				return held
			}
			held++ // and keeps it
			kept = append(kept, files...)
			break
		}
	}
	return held
}

// kept keeps the garbage collector from giving back what is hoarded.
var kept []*os.File

// most is how many descriptors it may have.
const most = 100

func taken(t *testing.T) *rig {
	if os.Geteuid() != 0 {
		t.Fatal("a front's own user needs root: run this test as root")
	}
	return start(t, func(f *Front) { f.role, f.descriptors = "taken", most })
}

func (r *rig) order(l loot) took {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addr().String())
	must(r.t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	must(r.t, json.NewEncoder(conn).Encode(l))
	var out took
	must(r.t, json.NewDecoder(conn).Decode(&out))
	return out
}

// TestATakenFrontGetsNothingButItsTraffic is what the front is for.
func TestATakenFrontGetsNothingButItsTraffic(t *testing.T) {
	r := taken(t)
	out := r.order(loot{
		Files:  []string{filepath.Join(r.caDir, "ca.key"), r.files.Certificate, "/etc/shadow", r.socket},
		Keeper: os.Getpid(), Engine: r.engine.Process.Pid, EngineSocket: r.socket,
	})
	for what, err := range out.Errors {
		if err == afterAll {
			t.Errorf("%s: %s", what, err)
		}
	}
	const attempts = 3*4 + 4 + 6*2 + 2
	if len(out.Errors) != attempts {
		t.Errorf("%d attempts were told, want %d: %v", len(out.Errors), attempts, out.Errors)
	}
	if out.Lanes == 0 || out.Lanes >= most {
		t.Errorf("it holds %d connections to the engine, of %d descriptors that it may have", out.Lanes, most)
	}
	if err := r.engine.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the engine: %v", err)
	}
}

// TestATakenFrontThatSaysWhatItMustNotIsEnded, and the keeper lives: another is started.
func TestATakenFrontThatSaysWhatItMustNotIsEnded(t *testing.T) {
	r := taken(t)
	for _, text := range []string{
		"x", "{}", `{"kind":"ready"}`, `{"kind":"lane"}`, `{"kind":"status","number":1}`, `{"kind":"renew","number":1,"source":"10.0.0.1"}`,
		`{"kind":"lane","number":1,"more":1}`, `{"kind":"lane","number":1}{}`, `{"kind":"lane","number":1,"source":"` + strings.Repeat("1", maxMessage) + `"}`,
	} {
		before := r.Process().PID
		conn, err := net.Dial("tcp", r.Addr().String())
		must(t, err)
		must(t, json.NewEncoder(conn).Encode(loot{Say: []string{text}}))
		r.await(fmt.Sprintf("the end of a front that said %.40q", text), func() bool { p := r.Process(); return p.PID != 0 && p.PID != before })
		conn.Close()
	}
}

// TestATakenFrontIsServedNoProtocolThatIsNotServed: enrolment without a CA here.
func TestATakenFrontIsServedNoProtocolThatIsNotServed(t *testing.T) {
	var l link
	l.options, l.settings = &Options{}, func() gateway.Settings { return gateway.Settings{Limits: gateway.DefaultLimits()} }
	for _, k := range []kind{kindEnroll, kindRenew} {
		if _, err := l.make(toKeeper{Kind: k, Number: 1}); err == nil || errors.Is(err, unix.EBADF) {
			t.Errorf("%s: %v", k, err)
		}
	}
}
