//go:build slow

package hosts_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestUnitsHoldAndComeBack: what a role that was taken over can't reach, and what no
// mistake or signal of a person's ends for good.
func TestUnitsHoldAndComeBack(t *testing.T) {
	s := newServed(t)
	if got := s.ask("SET", "key", "value"); got != "OK" {
		t.Fatalf("SET: %s", got)
	}
	t.Run("a gateway that was taken over changes nothing that root runs by", s.confined)
	t.Run("a changed file is taken in by systemctl reload", s.reloaded)
	t.Run("signals that other services take for something else", s.signalled)
	t.Run("a mistake in sidecar.yaml", s.mistaken)
	t.Run("a mistake in gateway.yaml", func(t *testing.T) {
		s.on(s.cache, "cp -p /etc/redoubt/gateway.yaml /root && echo 'lissten: x' >> /etc/redoubt/gateway.yaml; systemctl restart redoubt-gateway || true")
		s.until("the gateway says what is wrong, and tries again", func() bool {
			return strings.Count(s.on(s.cache, "journalctl --no-pager -u redoubt-gateway"), "gateway.yaml:7") >= 2
		})
		s.on(s.cache, "mv /root/gateway.yaml /etc/redoubt")
		s.until("it serves once that is mended", func() bool { return s.ask("SET", "key", "value") == "OK" })
	})
}

// confined looks at the files as the gateway sees them: what root runs by at the next
// start lies beside what it has to write.
func (s *served) confined(t *testing.T) {
	pid := s.property(s.cache, "redoubt-gateway", "MainPID")
	inside := func(script string) (string, int) {
		return lab.Run(t, s.cache.Command("nsenter", "-t", pid, "-m", "sh", "-c", script))
	}
	for _, path := range []string{"/etc/redoubt/nftables.conf", "/etc/redoubt/gateway.yaml", "/etc/redoubt/password.sha256", "/etc/redoubt/new", "/etc/credstore.encrypted/redoubt-ca-passphrase", "/usr/bin/new", "/usr/lib/new", "/lib/new", "/lib64/new", "/var/lib/new", "/run/systemd/system/new", "/run/new"} {
		if out, code := inside("echo >> " + path); code == 0 || !strings.Contains(out, "Read-only file system") {
			t.Errorf("it writes %s: %d %s", path, code, out)
		}
	}
	for m, unit := range map[*lab.Machine]string{s.cache: "redoubt-gateway", s.web: "redoubt-sidecar"} {
		for _, at := range writable(s.on(m, "cat /proc/"+s.property(m, unit, "MainPID")+"/mountinfo")) {
			// /usr itself has nothing but the directories in it; the program is root's, the
			// sidecar isn't root.
			if !regexp.MustCompile(`^/(dev|proc|sys|tmp|var/tmp|run/redoubt|run/credentials|run/host|etc/redoubt/tls|etc/redoubt/ca)(/|$)|^/usr$|^/usr/bin/redoubt$`).MatchString(at) {
				t.Errorf("%s can write below %s", unit, at)
			}
		}
	}
	for _, path := range []string{"/etc/redoubt/ca/new", "/etc/redoubt/tls/new"} { // the control
		if out, code := inside("touch " + path + " && rm " + path); code != 0 {
			t.Errorf("it can't write %s: %s", path, out)
		}
	}
	if got := s.on(s.cache, "stat --format '%a %U' /etc/redoubt/tls"); got != "700 root\n" {
		t.Errorf("/etc/redoubt/tls: %s", got)
	}
}

// writable are the mounts that can be written to, of /proc/PID/mountinfo
// (proc_pid_mountinfo(5)).
func writable(mounts string) (at []string) {
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 5 && slices.Contains(strings.Split(f[5], ","), "rw") {
			at = append(at, f[4])
		}
	}
	return at
}

// reloaded changes both roles' files: systemctl reload waits for the answer and fails with
// it, no process is another one afterwards, and the cache is kept.
func (s *served) reloaded(t *testing.T) {
	if got := s.ask("SET", "kept", "value"); got != "OK" {
		t.Fatalf("SET: %s", got)
	}
	for m, unit := range map[*lab.Machine]string{s.cache: "redoubt-gateway", s.web: "redoubt-sidecar"} {
		file := "/etc/redoubt/" + strings.TrimPrefix(unit, "redoubt-") + ".yaml"
		before := s.property(m, unit, "MainPID")
		s.on(m, "cp -p "+file+" /root/before.yaml && echo 'limits: {connections: 777}' >> "+file+" && systemctl reload "+unit)
		if got := s.on(m, "redoubt status --json"); !strings.Contains(got, `"connections_limit": 777`) {
			t.Errorf("%s after a reload: %s", unit, got)
		}
		if got := s.on(m, "redoubt log"); !strings.Contains(got, "reload --config="+file) {
			t.Errorf("on record: %s", got)
		}
		s.on(m, "echo 'lissten: x' >> "+file)
		if out, code := lab.Run(t, m.Command("systemctl", "reload", unit)); code == 0 {
			t.Errorf("%s takes a wrong file in: %s", unit, out)
		}
		if got := s.on(m, "journalctl --no-pager -u "+unit); !strings.Contains(got, "lissten is no key of ours") {
			t.Errorf("its journal doesn't say what is wrong: %s", got)
		}
		s.on(m, "mv /root/before.yaml "+file+" && systemctl reload "+unit)
		if now := s.property(m, unit, "MainPID"); now != before {
			t.Errorf("%s is another process", unit)
		}
	}
	if got := s.ask("GET", "kept"); got != "value" {
		t.Errorf("the cache: %s", got)
	}
}

// signalled sends both roles what means "read your configuration", and what systemd takes
// for a clean end.
func (s *served) signalled(t *testing.T) {
	for m, unit := range map[*lab.Machine]string{s.cache: "redoubt-gateway", s.web: "redoubt-sidecar"} {
		before := s.property(m, unit, "MainPID")
		s.on(m, "kill -HUP "+before)
		s.until(unit+" answers SIGHUP", func() bool {
			return strings.Contains(s.on(m, "journalctl --no-pager -u "+unit), "the configuration was read anew")
		})
		if now := s.property(m, unit, "MainPID"); now != before {
			t.Errorf("SIGHUP ended %s", unit)
		}
		s.on(m, "kill -TERM "+before)
		s.until(unit+" is back", func() bool {
			return s.property(m, unit, "MainPID") != before && s.property(m, unit, "ActiveState") == "active"
		})
	}
	s.until("they serve", func() bool { return s.ask("SET", "key", "value") == "OK" })
}

// reconnecting is an application that connects again and again.
const reconnecting = `while :; do redis-cli -p 6379 PING; done >/dev/null 2>&1 & echo $!`

// mistaken breaks sidecar.yaml, and takes it away.
func (s *served) mistaken(t *testing.T) {
	const attempts = 7 // of systemd's, 2 s apart: longer than the 13 s after which the port was closed for good
	for how, breaks := range map[string]string{"a mistake": "echo 'lissten: x' >> /etc/redoubt/sidecar.yaml", "no file": "rm /etc/redoubt/sidecar.yaml"} {
		tried := func() int {
			out := s.on(s.web, "journalctl --no-pager -u redoubt-sidecar")
			return strings.Count(out, "Starting redoubt-sidecar") + strings.Count(out, "unmet condition")
		}
		before := tried()
		s.on(s.web, "cp -p /etc/redoubt/sidecar.yaml /root && "+breaks+" && kill -KILL "+s.property(s.web, "redoubt-sidecar", "MainPID"))
		application := strings.TrimSpace(s.on(s.web, reconnecting))
		socket := func() string { return s.property(s.web, "redoubt-sidecar.socket", "Result") }
		s.until(how+": the application and systemd have tried", func() bool { return socket() != "success" || tried() >= before+attempts })
		s.on(s.web, "mv /root/sidecar.yaml /etc/redoubt")
		s.until(how+", mended: it serves", func() bool { return s.ask("SET", "key", "value") == "OK" })
		s.on(s.web, "kill "+application)
		if got := socket(); got != "success" {
			t.Errorf("%s: the socket: %s", how, got)
		}
	}
}
