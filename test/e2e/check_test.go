package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestACheckSaysWhatAStartWould, with the role running and without, and leaves
// everything as it is.
func TestACheckSaysWhatAStartWould(t *testing.T) {
	s := newSite(t)
	files := map[string]string{"gateway": s.path("cache-1", "gateway.yaml"), "sidecar": s.path("web-1", "sidecar.yaml")}
	hosts := map[string]*lab.Host{"gateway": s.cache, "sidecar": s.web}
	good := map[string]string{}
	for role, file := range files {
		good[role] = read(t, file) + "admin: {socket: admin.sock}\n"
		s.write(filepath.Base(file), filepath.Dir(file), good[role])
	}
	check := func(role string) (string, int) {
		t.Helper()
		return lab.Run(t, hosts[role].Command(lab.Redoubt(t), role, "--check", "--config", files[role]))
	}
	all := func() string {
		t.Helper()
		out, code := lab.Run(t, exec.Command("sh", "-c", "cd "+s.dir+" && find . -type f -exec sha256sum {} + | sort"))
		if code != 0 {
			t.Fatal(out)
		}
		return out
	}
	before := all()
	for role := range files {
		if out, code := check(role); code != 0 || !strings.Contains(out, "nothing runs with it") {
			t.Errorf("%s: %d\n%s", role, code, out)
		}
		for _, wrong := range []struct {
			from, to string
			code     int
			says     string
		}{
			{"deployment: clinic\n", "deployment: clinic\nlissten: x\n", 2, ".yaml:2"},
			{"tls/tls.pem", "tls/none.pem", 2, "none.pem"},
			{"name: cache-1\n", "name: cache-7\n", 2, "is the certificate of"},
			{"name: web-1\n", "name: web-7\n", 2, "is the certificate of"},
			{"password.sha256", "none.sha256", 2, "engine.password_digests"},
			{"engine: {", "engine: {binary: /usr/bin/none, ", 3, "/usr/bin/none"},
			{"listen: 10.77.0.2:", "listen: 10.77.0.66:", 2, "10.77.0.66:6379 is no address of this host"},
			{"name: web-1\n", "name: web-1\nlisten: 10.77.0.3:6379\n", 2, "10.77.0.3:6379 is no loopback address"},
		} {
			if !strings.Contains(good[role], wrong.from) {
				continue
			}
			s.write(filepath.Base(files[role]), filepath.Dir(files[role]), strings.Replace(good[role], wrong.from, wrong.to, 1))
			if out, code := check(role); code != wrong.code || !strings.Contains(out, wrong.says) || !strings.Contains(out, filepath.Base(files[role])) {
				t.Errorf("%s, %s: %d, want %d and %q\n%s", role, wrong.to, code, wrong.code, wrong.says, out)
			}
		}
		s.write(filepath.Base(files[role]), filepath.Dir(files[role]), good[role])
	}
	for role, address := range map[string]string{"gateway": "10.77.0.2", "sidecar": "127.0.0.1"} {
		other := lab.Start(t, hosts[role].Command("/usr/bin/python3", "-u", "-c",
			"import socket, time; s=socket.create_server(('"+address+"', 6379)); print('listening'); time.sleep(600)"), "listening")
		if out, code := check(role); code != 3 || !strings.Contains(out, "is taken by another process") {
			t.Errorf("%s: %d\n%s", role, code, out)
		}
		other.Stop()
	}
	if now := all(); now != before {
		t.Errorf("a check changed files:\n%s\n%s", before, now)
	}

	s.gateway()
	s.sidecar(s.web)
	for role := range files {
		if out, code := check(role); code != 0 || !strings.Contains(out, "what runs has read the same") {
			t.Errorf("%s: %d\n%s", role, code, out)
		}
		s.write(filepath.Base(files[role]), filepath.Dir(files[role]), good[role]+"exceptions: [{check: RD-441, owner: x, reason: y, until: 2100-01-01}]\n")
		if out, code := check(role); code != 0 || !strings.Contains(out, "redoubt reload has it take in what it can") {
			t.Errorf("%s: %d\n%s", role, code, out)
		}
	}
	if got := s.app("PING"); got != "PONG" {
		t.Error(got)
	}
	s.redoubt("pki", "revoke", "web-1", "--dir", s.path("ca"))
	s.redoubt("pki", "revoke", "cache-1", "--role", "gateway", "--dir", s.path("ca"))
	for role, file := range files {
		s.write("revoked.crl", filepath.Join(filepath.Dir(file), "tls"), read(t, s.path("ca", "revoked.crl")))
		s.write(filepath.Base(file), filepath.Dir(file), good[role])
		if out, code := check(role); code != 2 || !strings.Contains(out, "is revoked (serial") {
			t.Errorf("%s with a revoked certificate: %d\n%s", role, code, out)
		}
	}
}
