//go:build slow

package hosts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// served are two whole hosts on which the package is installed and systemd runs the
// roles, as docs/operations.md has a person do it; packages are what the cache host has
// besides.
type served struct {
	t          *testing.T
	cache, web *lab.Machine
	url        string
}

func newServed(t *testing.T, packages ...string) *served {
	t.Helper()
	n := lab.NewNetwork(t)
	s := &served{t: t, cache: n.Unbooted("cache-1", "10.77.0.2/16", packages...), web: n.Unbooted("web-1", "10.77.0.3/16")}
	deb := lab.Package(t, packageVersion)
	for _, m := range []*lab.Machine{s.cache, s.web} {
		m.Boot()
		s.on(m, "systemctl stop redis-server; systemctl mask redis-server")
		s.install(m, deb)
		s.write(m, "/etc/redoubt/deployment.yaml", deployment, 0o644)
	}
	s.write(s.cache, "/etc/redoubt/gateway.yaml", `deployment: clinic
name: cache-1
listen: 10.77.0.2:6379
admit: [10.77.0.3/32, 10.77.0.2/32]
pki: {dir: ca}
engine: {memory: 64mb, max_value: 8mb}
`, 0o644)
	// The CA's keys are encrypted, and their passphrase lies on the disk only encrypted.
	s.on(s.cache, "redoubt pki init --deployment clinic --dir /etc/redoubt/ca --seal")
	s.on(s.cache, "cd /root && redoubt secret new --out secret && install -m 600 secret/password.sha256 /etc/redoubt")
	s.on(s.cache, "systemctl enable --now redoubt-gateway")
	token := strings.TrimSpace(s.on(s.cache, "redoubt token create --dir /etc/redoubt/ca --name web-1 --gateway cache-1=10.77.0.2:6379 2>/dev/null"))
	s.write(s.web, "/run/token", token, 0o600)
	s.on(s.web, "redoubt join --token-file /run/token && systemctl enable --now redoubt-sidecar.socket redoubt-sidecar")
	env, err := os.ReadFile(s.cache.Path("/root/secret/app.env"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.web, "/etc/app/app.env", string(env), 0o600)
	_, s.url, _ = strings.Cut(strings.TrimSpace(string(env)), "=")
	return s
}

// packageVersion is what the hosts have at first.
const packageVersion = "1.2.3"

// install is dpkg's, of a package that lies on the test's machine.
func (s *served) install(m *lab.Machine, deb string) string {
	s.t.Helper()
	lab.Sure(s.t, exec.Command("cp", deb, m.Path("/root/redoubt.deb")))
	return s.on(m, "dpkg --install /root/redoubt.deb")
}

func (s *served) on(m *lab.Machine, script string) string {
	s.t.Helper()
	out, code := lab.Run(s.t, m.Command("sh", "-c", script))
	if code != 0 {
		journal, _ := lab.Run(s.t, m.Command("journalctl", "--no-pager", "-n", "30"))
		s.t.Fatalf("%s: %d\n%s\n%s", script, code, out, journal)
	}
	return out
}

func (s *served) write(m *lab.Machine, path, text string, mode os.FileMode) {
	s.t.Helper()
	path = m.Path(path)
	if strings.HasPrefix(path, m.Path("/run/")) { // in the machine's memory, not on its disk
		cmd := m.Command("sh", "-c", "umask 077; cat > "+strings.TrimPrefix(path, m.Path("")))
		cmd.Stdin = strings.NewReader(text)
		lab.Sure(s.t, cmd)
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// ask speaks to the cache as the application does.
func (s *served) ask(args ...string) string {
	s.t.Helper()
	out, _ := lab.Run(s.t, s.web.Command(append([]string{"redis-cli", "--no-auth-warning", "-u", s.url}, args...)...))
	return strings.TrimSpace(out)
}

func (s *served) until(what string, is func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if time.Now().After(deadline) {
			gateway, _ := lab.Run(s.t, s.cache.Command("journalctl", "--no-pager", "-n", "40", "-u", "redoubt-gateway"))
			sidecar, _ := lab.Run(s.t, s.web.Command("journalctl", "--no-pager", "-n", "40", "-u", "redoubt-sidecar"))
			s.t.Fatalf("not within 3 minutes: %s\n%s\n%s", what, gateway, sidecar)
		}
		<-tick.C
	}
}

func (s *served) property(m *lab.Machine, unit, name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.on(m, "systemctl show --value --property "+name+" "+unit))
}

// ofThisMachine are the checks that fail for what the test's own machine is: kernel
// settings that a container can't set, a clock that nobody keeps, and the engine of
// Debian's first release, without the updates that came after.
var ofThisMachine = []string{"RD-442", "RD-445", "RD-446", "RD-620", "RD-512"}

// TestSystemdRunsTheRolesInTheirSandboxes: they serve, every check of what they are
// passes, they come back from whatever ends them, and they end in order.
func TestSystemdRunsTheRolesInTheirSandboxes(t *testing.T) {
	s := newServed(t)
	if got := s.ask("SET", "key", "value"); got != "OK" {
		t.Fatalf("SET: %s", got)
	}

	t.Run("verify", func(t *testing.T) {
		s.on(s.cache, "redoubt host apply --no-rollback")
		s.on(s.web, "redoubt host apply --no-rollback")
		for m, args := range map[*lab.Machine]string{s.cache: "", s.web: " --env /etc/app/app.env"} {
			out, _ := lab.Run(t, m.Command("sh", "-c", "redoubt verify --deployment /etc/redoubt/deployment.yaml"+args))
			for line := range strings.Lines(out) {
				words := strings.Fields(line)
				if len(words) > 1 && words[0] == "FAIL" && !slices.Contains(ofThisMachine, words[1]) {
					t.Errorf("%s\n%s", line, out)
				}
			}
			if !strings.Contains(out, "pass      RD-120") || !strings.Contains(out, "pass      RD-403") {
				t.Error(out)
			}
		}
	})

	t.Run("the host itself is judged", s.hostIsJudged)

	t.Run("the log is judged", s.logIsJudged)

	t.Run("a killed engine is replaced", func(t *testing.T) {
		s.on(s.cache, "pkill -KILL -f '^redis-server -$' || pkill -KILL redis-server")
		s.until("the engine is back, empty", func() bool { return s.ask("GET", "key") == "" && s.ask("SET", "key", "2") == "OK" })
		if got := s.property(s.cache, "redoubt-gateway", "NRestarts"); got != "0" {
			t.Errorf("systemd restarted the gateway %s times", got)
		}
	})

	t.Run("a gateway that is stuck is ended and started", func(t *testing.T) {
		s.on(s.cache, "mkdir -p /etc/systemd/system/redoubt-gateway.service.d && printf '[Service]\nWatchdogSec=5\n' > /etc/systemd/system/redoubt-gateway.service.d/quick.conf && systemctl daemon-reload && systemctl restart redoubt-gateway")
		before := s.property(s.cache, "redoubt-gateway", "MainPID")
		s.on(s.cache, "sleep 8") // longer than the watchdog's patience: it is told in time
		if now := s.property(s.cache, "redoubt-gateway", "MainPID"); now != before {
			t.Fatalf("the watchdog ended a gateway that works: %s", s.on(s.cache, "journalctl --no-pager -n 30 -u redoubt-gateway"))
		}
		s.on(s.cache, "kill -STOP "+before)
		s.until("another gateway serves", func() bool {
			return s.property(s.cache, "redoubt-gateway", "MainPID") != before && s.ask("SET", "key", "3") == "OK"
		})
		if out := s.on(s.cache, "journalctl --no-pager -u redoubt-gateway"); !strings.Contains(out, "Watchdog timeout") {
			t.Errorf("it wasn't the watchdog:\n%s", out)
		}
	})

	t.Run("the application's port stays open while the sidecar restarts", func(t *testing.T) {
		s.on(s.web, "systemctl stop redoubt-sidecar.service 2>/dev/null")
		answered := make(chan string, 1)
		go func() {
			text, _ := s.web.Command("redis-cli", "--no-auth-warning", "-u", s.url, "PING").CombinedOutput()
			answered <- strings.TrimSpace(string(text))
		}()
		select { // it waits, or systemd has the sidecar start for it
		case got := <-answered:
			if got != "PONG" {
				t.Errorf("while the sidecar was away: %s", got)
			}
		case <-time.After(3 * time.Minute):
			t.Error("nothing answers")
		}
	})

	t.Run("the package is upgraded", func(t *testing.T) { s.upgrade(t) })

	t.Run("they stop in order", func(t *testing.T) {
		s.on(s.web, "systemctl stop redoubt-sidecar.socket redoubt-sidecar.service")
		s.on(s.cache, "systemctl stop redoubt-gateway")
		for m, unit := range map[*lab.Machine]string{s.web: "redoubt-sidecar", s.cache: "redoubt-gateway"} {
			if got := s.property(m, unit, "Result"); got != "success" {
				t.Errorf("%s: %s", unit, got)
			}
		}
		if out, code := lab.Run(t, s.cache.Command("pgrep", "-l", "redis-server")); code == 0 {
			t.Errorf("the engine outlives its gateway: %s", out)
		}
		if out := s.on(s.cache, "ls -A /run/redoubt"); strings.TrimSpace(out) != "" {
			t.Errorf("left in /run/redoubt: %s", out)
		}
	})

	t.Run("the package is removed", func(t *testing.T) { s.remove(t) })
}

// verdict is what redoubt verify says of the cache host.
func (s *served) verdict() string {
	s.t.Helper()
	out, _ := lab.Run(s.t, s.cache.Command("redoubt", "verify", "--deployment", "/etc/redoubt/deployment.yaml"))
	return out
}

// hostIsJudged breaks what RD-126 and RD-127 claim, in every way that we know, and mends it.
func (s *served) hostIsJudged(t *testing.T) {
	type breach struct{ break_, mend, says string }
	for _, both := range []struct{ updates, applied breach }{
		{breach{"echo 'APT::Periodic::Unattended-Upgrade \"0\";' > /etc/apt/apt.conf.d/99off", "rm /etc/apt/apt.conf.d/99off", `Unattended-Upgrade is "0"`},
			breach{"systemctl unmask hibernate.target", "redoubt host apply --no-rollback", "hibernate.target is otherwise"}},
		{breach{"systemctl mask apt-daily-upgrade.timer", "systemctl unmask apt-daily-upgrade.timer && systemctl start apt-daily-upgrade.timer", "is masked"},
			breach{"rm /etc/ssh/sshd_config.d/00-redoubt.conf && redoubt host apply --within 10m", "redoubt host confirm", "go back unless it is confirmed"}},
		{breach{"mv /usr/bin/unattended-upgrade /root", "mv /root/unattended-upgrade /usr/bin", "not installed"},
			breach{"rm /etc/sysctl.d/60-redoubt.conf", "redoubt host apply", "/etc/sysctl.d/60-redoubt.conf is otherwise"}},
	} {
		s.on(s.cache, both.updates.break_+" && "+both.applied.break_)
		out := s.verdict()
		for id, b := range map[string]breach{"RD-126": both.updates, "RD-127": both.applied} {
			if !strings.Contains(out, "FAIL      "+id) || !strings.Contains(out, b.says) {
				t.Errorf("%s: %s\n%s", id, b.break_, out)
			}
		}
		s.on(s.cache, both.updates.mend+" && "+both.applied.mend)
	}
	for _, updates := range []breach{
		{"systemctl mask apt-daily.timer", "systemctl unmask apt-daily.timer && systemctl start apt-daily.timer", "apt-daily.timer is masked"},
		{"systemctl disable --now apt-daily-upgrade.timer", "systemctl enable --now apt-daily-upgrade.timer", "apt-daily-upgrade.timer is inactive and disabled"},
		{"systemctl mask apt-daily-upgrade.service", "systemctl unmask apt-daily-upgrade.service", "apt-daily-upgrade.service is masked"},
		{"echo 'Unattended-Upgrade::Package-Blacklist { \"redis\"; \"openssh\"; };' > /etc/apt/apt.conf.d/99off", "rm /etc/apt/apt.conf.d/99off", "Package-Blacklist keeps"},
		{"printf '#clear Unattended-Upgrade::Origins-Pattern;\nUnattended-Upgrade::Origins-Pattern { \"origin=Debian,codename=nobody\"; };\n' > /etc/apt/apt.conf.d/99off", "rm /etc/apt/apt.conf.d/99off", "no Origins-Pattern"},
		{"mv " + lab.SecurityUpdates + " /root/security.list", "mv /root/security.list " + lab.SecurityUpdates, "no source of security updates"},
		{"apt-mark hold redis-server", "apt-mark unhold redis-server", "redis-server is on hold"},
	} {
		s.on(s.cache, updates.break_)
		if out := s.verdict(); !strings.Contains(out, "FAIL      RD-126") || !strings.Contains(out, updates.says) {
			t.Errorf("RD-126: %s\n%s", updates.break_, out)
		}
		s.on(s.cache, updates.mend)
	}
	if out := s.verdict(); !strings.Contains(out, "pass      RD-126") || !strings.Contains(out, "pass      RD-127") {
		t.Error(out)
	}

	// What is asked for is open, and nothing else; asked for no more it is closed.
	s.write(s.cache, "/etc/redoubt/deployment.yaml", deployment+"ssh_forwards: [tcp]\n", 0o644)
	if out := s.on(s.cache, "redoubt host apply --no-rollback >/dev/null && sshd -T | grep -i forwarding | sort"); !strings.Contains(out, "allowtcpforwarding yes\n") || strings.Count(out, " yes\n") != 1 {
		t.Error(out)
	}
	if out := s.verdict(); !strings.Contains(out, "pass      RD-123") || !strings.Contains(out, "pass      RD-127") {
		t.Error(out)
	}
	s.write(s.cache, "/etc/redoubt/deployment.yaml", deployment, 0o644)
	if out := s.verdict(); !strings.Contains(out, "FAIL      RD-123") || !strings.Contains(out, "FAIL      RD-127") {
		t.Error(out)
	}
	s.on(s.cache, "redoubt host apply --no-rollback")
}

// logIsJudged has the log lost, thrown away and open to others.
func (s *served) logIsJudged(t *testing.T) {
	const dropIn = "/etc/systemd/journald.conf.d/90-test.conf"
	s.on(s.cache, "mkdir -p /etc/systemd/journald.conf.d")
	for says, text := range map[string]string{"gone with a restart": "Storage=volatile", "thrown away after 24h": "MaxRetentionSec=1day"} {
		s.write(s.cache, dropIn, "[Journal]\n"+text+"\n", 0o644)
		if out := s.verdict(); !strings.Contains(out, "FAIL      RD-621") || !strings.Contains(out, says) {
			t.Errorf("%s\n%s", text, out)
		}
	}
	s.on(s.cache, "rm "+dropIn+" && chmod o+r /var/log/journal/*/system.journal")
	if out := s.verdict(); !strings.Contains(out, "FAIL      RD-621") || !strings.Contains(out, "system.journal has mode") {
		t.Error(out)
	}
	s.on(s.cache, "chmod o-r /var/log/journal/*/system.journal")
	if out := s.verdict(); !strings.Contains(out, "pass      RD-621") {
		t.Error(out)
	}
}
