package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// forward passes what comes to a network port on to a port on loopback or to a unix
// socket, or from one, as socat does; or wherever the client asks, as ssh -D does.
const forward = `
import socket, sys, threading
def serve(listener, target):
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try: s.shutdown(socket.SHUT_RDWR)
            except OSError: pass
    while True:
        came = listener.accept()[0]
        to = socks(came) if target == "socks" else target if "/" in target else ("127.0.0.1", int(target))
        if not to:
            came.close()
            continue
        there = socket.socket(socket.AF_UNIX) if "/" in target else socket.socket()
        there.connect(to)
        for pair in ((came, there), (there, came)):
            threading.Thread(target=copy, args=pair, daemon=True).start()
def socks(came):
    if came.recv(3) != b"\x05\x01\x00":
        return None
    came.sendall(b"\x05\x00")
    asked = came.recv(10)
    came.sendall(b"\x05\x00\x00\x01" + bytes(6))
    return socket.inet_ntoa(asked[4:8]), int.from_bytes(asked[8:], "big")
on, target = sys.argv[1:]
if "%" in on:
    address, interface = on.split("%")
    listener = socket.socket(socket.AF_INET6)
    listener.bind((address, 29499, 0, socket.if_nametoindex(interface)))
    listener.listen()
elif "/" in on:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(on)
    listener.listen()
else:
    listener = socket.create_server(("0.0.0.0", int(on)), backlog=16)
print("listening", flush=True)
serve(listener, target)
`

// TestAForwarderIsFound, whatever it leads to, on either kind of host: each was all
// green for a verification that looked at our own processes' sockets alone.
func TestAForwarderIsFound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ownSockets()
	s.gateway()
	s.sidecar(s.web)
	cache, web := []string{"--config", s.path("cache-1", "gateway.yaml")}, []string{"--config", s.path("web-1", "sidecar.yaml")}
	look := func(host *lab.Host, args []string) evidence.Result {
		t.Helper()
		path := t.TempDir() + "/report.json"
		lab.Run(t, host.Command(append([]string{lab.Redoubt(t), "verify", "--json", path}, args...)...))
		return resultOf(t, readReport(t, path), "RD-215")
	}
	sound := []struct {
		host *lab.Host
		args []string
	}{{s.cache, cache}, {s.web, web}}
	for _, c := range sound {
		if r := look(c.host, c.args); r.Outcome != evidence.Pass {
			t.Fatalf("nothing is forwarded: %s %s\n%s", r.Outcome, r.Detail, r.Evidence)
		}
	}
	adminSocket := s.path("cache-1", "admin.sock")
	between := s.path("between.sock")
	lab.Start(t, s.web.Command("/usr/bin/python3", "-u", "-c", forward, between, "6379"), "listening")
	for _, c := range []struct {
		what, says string
		host       *lab.Host
		args       []string
		forward    []string
	}{
		{"the sidecar's port", "Redis in the clear", s.web, web, []string{"29499", "6379"}},
		{"the sidecar's port, at a link-local address", "Redis in the clear", s.web, web, []string{linkLocal(t, s.web) + "%eth0", "6379"}},
		{"whatever is asked for", "SOCKS 5", s.web, web, []string{"29499", "socks"}},
		{"the sidecar's port, in two steps", "Redis in the clear", s.web, web, []string{"29499", between}},
		{"the engine's socket", "Redis in the clear", s.cache, cache, []string{"29499", engineSocket(t, adminSocket)}},
		{"the gateway's admin socket", "admin socket", s.cache, cache, []string{"29499", adminSocket}},
	} {
		forwarder := lab.Start(t, c.host.Command(append([]string{"/usr/bin/python3", "-u", "-c", forward}, c.forward...)...), "listening")
		if r := look(c.host, c.args); r.Outcome != evidence.Fail || !strings.Contains(r.Detail, "29499") || !strings.Contains(r.Detail, c.says) {
			t.Errorf("%s: %s %s\n%s", c.what, r.Outcome, r.Detail, r.Evidence)
		}
		forwarder.Stop()
	}
}

// linkLocal is a host's address on its link.
func linkLocal(t *testing.T, h *lab.Host) string {
	t.Helper()
	out, code := lab.Run(t, h.Command("ip", "-json", "-6", "address", "show", "dev", "eth0", "scope", "link"))
	var links []struct {
		Addresses []struct{ Local string } `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(out), &links); code != 0 || err != nil || len(links) == 0 || len(links[0].Addresses) == 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	return links[0].Addresses[0].Local
}

// engineSocket is where a gateway's engine listens.
func engineSocket(t *testing.T, adminSocket string) string {
	t.Helper()
	var a engine.Audit
	if err := admin.Call(t.Context(), adminSocket, http.MethodGet, "/audit", &a); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(a.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Type()&os.ModeSocket != 0 {
			return filepath.Join(a.RunDir, f.Name())
		}
	}
	t.Fatalf("no socket in %s", a.RunDir)
	return ""
}

// ownSockets has gateway and sidecar tell of themselves in the site's directory, where
// no other test's processes do.
func (s *site) ownSockets() {
	for host, file := range map[string]string{"cache-1": "gateway.yaml", "web-1": "sidecar.yaml"} {
		s.write(file, s.path(host), read(s.t, s.path(host, file))+"admin: {socket: admin.sock}\n")
	}
}
