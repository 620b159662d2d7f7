//go:build slow

package hosts_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

const deployment = `deployment: clinic
gateways: [{name: cache-1, address: 10.77.0.2}]
apps: [{name: web-1, address: 10.77.0.3}]
bastions: [10.77.0.9]
engine_uid: 61234
`

// clinic is a cache host, and who would log in to it.
type clinic struct {
	t                 *testing.T
	cache             *lab.Machine
	bastion, outsider *lab.Host
	key, password     string // files of alice's, who has an account on the cache host
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	n := lab.NewNetwork(t)
	c := &clinic{t: t, bastion: n.Host("bastion", "10.77.0.9/16"), outsider: n.Host("outsider", "10.77.0.66/16"), cache: n.Machine("cache-1", "10.77.0.2/16")}
	dir := t.TempDir()
	c.key, c.password = filepath.Join(dir, "key"), filepath.Join(dir, "askpass")
	lab.Sure(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.key))
	public, err := os.ReadFile(c.key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.password, []byte("#!/bin/sh\necho alices-own\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"/etc/redoubt/deployment.yaml": deployment, "/root/.ssh/authorized_keys": string(public)} {
		path = c.cache.Path(path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lab.Sure(t, c.cache.Command("sh", "-c", "useradd --create-home --shell /bin/sh alice && echo alice:alices-own | chpasswd"))
	return c
}

// giveKey gives alice a key.
func (c *clinic) giveKey() {
	c.t.Helper()
	lab.Sure(c.t, c.cache.Command("sh", "-c", "install -d -m 700 -o alice -g alice ~alice/.ssh && install -m 600 -o alice -g alice /root/.ssh/authorized_keys ~alice/.ssh/authorized_keys"))
}

// redoubt runs it on the cache host.
func (c *clinic) redoubt(args ...string) (out string, code int) {
	c.t.Helper()
	return lab.Run(c.t, c.cache.Command(append([]string{"redoubt"}, args...)...))
}

// must run it with this exit code, and say this.
func (c *clinic) must(code int, says string, args ...string) string {
	c.t.Helper()
	out, got := c.redoubt(args...)
	if got != code || !strings.Contains(out, says) {
		c.t.Fatalf("redoubt %s: exit code %d, want %d and %q\n%s", strings.Join(args, " "), got, code, says, out)
	}
	return out
}

// soon is for who is to find a closed door; sshd itself may take long on a busy machine.
var soon = []string{"-o", "ConnectTimeout=2"}

// ssh logs in and returns what came of it: "in", or ssh's last line.
func (c *clinic) ssh(from *lab.Host, user string, options ...string) string {
	c.t.Helper()
	args := append([]string{"ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "NumberOfPasswordPrompts=1"}, options...)
	cmd := from.Command(append(args, "-o", "ConnectTimeout=60", user+"@10.77.0.2", "echo", "in")...)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+c.password, "SSH_ASKPASS_REQUIRE=force", "SSH_AUTH_SOCK=")
	out, _ := lab.Run(c.t, cmd)
	all := strings.Split(strings.TrimSpace(out), "\n")
	return all[len(all)-1]
}

func (c *clinic) byKey(from *lab.Host, user string, options ...string) string {
	return c.ssh(from, user, append(options, "-i", c.key, "-o", "PreferredAuthentications=publickey", "-o", "BatchMode=yes")...)
}

func (c *clinic) byPassword(from *lab.Host, user string, options ...string) string {
	return c.ssh(from, user, append(options, "-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "PubkeyAuthentication=no")...)
}

// open checks that the host is as Debian made it: the control of all that is refused
// later, and what undo must come back to.
func (c *clinic) open(when string) {
	c.t.Helper()
	for how, got := range map[string]string{
		"alice by password from the bastion": c.byPassword(c.bastion, "alice"), "alice by password from elsewhere": c.byPassword(c.outsider, "alice"),
		"root by key from elsewhere": c.byKey(c.outsider, "root"),
	} {
		if got != "in" {
			c.t.Errorf("%s, %s: %s", when, how, got)
		}
	}
}

// closed checks that it is as Redoubt makes it.
func (c *clinic) closed(when string) {
	c.t.Helper()
	for _, problem := range c.ajar() {
		c.t.Errorf("%s, %s", when, problem)
	}
}

// ajar is what is otherwise than Redoubt makes it.
func (c *clinic) ajar() (problems []string) {
	c.t.Helper()
	for how, attempt := range map[string]struct{ got, want string }{
		"alice by key from the bastion":      {c.byKey(c.bastion, "alice"), "in"},
		"alice by password from the bastion": {c.byPassword(c.bastion, "alice"), "Permission denied (publickey)"},
		"root by key from the bastion":       {c.byKey(c.bastion, "root"), "Permission denied (publickey)"},
		"alice by key from elsewhere":        {c.byKey(c.outsider, "alice", soon...), "Connection timed out"},
	} {
		if !strings.Contains(attempt.got, attempt.want) || attempt.want == "in" && attempt.got != "in" {
			problems = append(problems, how+": "+attempt.got)
		}
	}
	return problems
}

// applied applies what goes back within a time, and has a look meanwhile. A machine that
// is too busy for a look in so short a time is given longer.
func (c *clinic) applied(within time.Duration, then func(), look func() (problems []string), goneBack func(), args ...string) {
	c.t.Helper()
	for ; ; within *= 4 {
		began := time.Now()
		c.must(0, "go back at", append([]string{"host", "apply", "--within", within.String()}, args...)...)
		then()
		problems := look()
		if late := time.Since(began) > within; len(problems) > 0 && (!late || within > 2*time.Minute) {
			c.t.Errorf("applied: %q", problems)
		} else if len(problems) > 0 {
			goneBack()
			continue
		}
		return
	}
}

// goesBack waits until alice comes in from elsewhere again, with her password.
func (c *clinic) goesBack(when string) {
	c.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); c.byPassword(c.outsider, "alice", "-o", "ConnectTimeout=5") != "in"; {
		if time.Now().After(deadline) {
			out, _ := lab.Run(c.t, c.cache.Command("journalctl", "--no-pager", "-n", "40"))
			c.t.Fatalf("%s: it doesn't go back\n%s", when, out)
		}
	}
}

// disk is every file and directory of /etc, with owner, mode and what is in it.
func (c *clinic) disk() string {
	c.t.Helper()
	return lab.Sure(c.t, c.cache.Command("sh", "-c", `find /etc -printf '%p %y %m %U:%G %l\n' | sort; find /etc -type f -exec sha256sum {} + | sort -k 2`))
}

func (c *clinic) same(when, before string) {
	c.t.Helper()
	if diff := differences(before, c.disk()); diff != "" {
		c.t.Errorf("%s /etc is otherwise:\n%s", when, diff)
	}
	if out, _ := lab.Run(c.t, c.cache.Command("nft", "list", "ruleset")); out != "" {
		c.t.Errorf("%s there is a packet filter:\n%s", when, out)
	}
}

// TestAHostIsLockedDownAndBack is the whole way of a host.
func TestAHostIsLockedDownAndBack(t *testing.T) {
	c := newClinic(t)
	before := c.disk()
	c.open("as Debian made it")

	c.must(1, "things are otherwise", "host", "check")
	plan := c.must(0, "nobody could log in by ssh", "host", "plan")
	for _, want := range []string{"+PasswordAuthentication no", "+        tcp dport 22 ip saddr @bastions4 accept", "+a link to /dev/null", "in a container it is set on the machine outside", "To make them: redoubt host apply"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan doesn't have %q\n%s", want, plan)
		}
	}
	c.same("after check and plan", before)

	c.giveKey()
	if plan := c.must(0, "", "host", "plan"); strings.Contains(plan, "nobody could log in") {
		t.Error("alice has a key, and is said not to come in")
	}
	c.must(0, "there: redoubt host confirm", "host", "apply")
	c.closed("applied")
	c.must(1, "go back at", "host", "check")
	c.must(0, "confirmed", "host", "confirm")
	c.must(1, "nothing waits", "host", "confirm")
	c.must(0, "firewall: nothing to change", "host", "check")
	locked := c.disk()
	c.must(0, "nothing to change", "host", "apply")

	c.cache.PowerOff()
	c.cache.Boot()
	c.closed("after a start of the host")
	c.must(0, "", "host", "check")
	if diff := differences(locked, c.disk()); diff != "" {
		t.Errorf("after a start /etc is otherwise:\n%s", diff)
	}

	// Somebody changes things by hand.
	lab.Sure(t, c.cache.Command("sed", "-i", "s/^PasswordAuthentication no/PasswordAuthentication yes/", "/etc/ssh/sshd_config.d/00-redoubt.conf"))
	lab.Sure(t, c.cache.Command("systemctl", "unmask", "swap.target"))
	c.must(1, "2 things are otherwise", "host", "check")
	c.must(0, "2 changes made", "host", "apply", "--no-rollback")
	c.closed("applied again")
	c.must(0, "", "host", "check")

	c.must(0, "as it was before", "host", "undo")
	c.same("undone", before)
	c.open("undone")
	c.must(1, "never run here", "host", "undo")
}

// TestWhatNobodyConfirmsGoesBack: at its deadline, and when the power is cut before.
func TestWhatNobodyConfirmsGoesBack(t *testing.T) {
	c := newClinic(t)
	c.giveKey()
	c.must(0, "", "host", "apply", "--no-rollback", "--without", "ssh,firewall")
	before := c.disk()

	back := func() { c.goesBack("past the deadline") }
	c.applied(6*time.Second, func() {}, c.ajar, back)
	back()
	c.same("past the deadline", before)
	c.open("past the deadline")
	c.must(1, "it came too late", "host", "confirm")

	// Locked out, its operator has the machine's power switched off and on.
	c.must(0, "go back at", "host", "apply", "--within", "30m")
	c.closed("applied again")
	c.cache.Crash()
	c.cache.Boot()
	c.same("after a power cut", before)
	c.open("after a power cut")

	// What was confirmed stays when a later change goes back.
	c.must(0, "", "host", "apply", "--within", "30m")
	c.must(0, "", "host", "confirm")
	confirmed := c.disk()
	wider := strings.Replace(deployment, "bastions: [10.77.0.9]", "bastions: [10.77.0.9, 10.77.0.66]", 1)
	if err := os.WriteFile(c.cache.Path("/root/wider.yaml"), []byte(wider), 0o600); err != nil {
		t.Fatal(err)
	}
	back = func() {
		for deadline := time.Now().Add(5 * time.Minute); ; {
			out, code := c.redoubt("host", "check")
			if code == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it doesn't go back: %s", out)
			}
		}
	}
	c.applied(4*time.Second, func() {}, func() (problems []string) {
		if got := c.byKey(c.outsider, "alice"); got != "in" {
			problems = append(problems, "the second bastion: "+got)
		}
		return problems
	}, back, "--deployment", "/root/wider.yaml")
	back()
	if diff := differences(confirmed, c.disk()); diff != "" {
		t.Errorf("what went back isn't what was confirmed:\n%s", diff)
	}
	c.closed("back at what was confirmed")
}

// TestTheDeadlineOutlivesItsGuard: whatever waits for it is killed, before the deadline and
// while it puts things back; and a confirm that comes late is refused, also where nothing
// waits any more.
func TestTheDeadlineOutlivesItsGuard(t *testing.T) {
	c := newClinic(t)
	c.giveKey()
	c.must(0, "", "host", "apply", "--no-rollback", "--without", "ssh,firewall")
	before := c.disk()
	goesBack := func(when string) {
		t.Helper()
		c.goesBack(when)
		c.same(when, before)
		c.must(1, "it came too late", "host", "confirm")
	}
	kill := []string{"pkill", "-KILL", "-f", "[h]ost guard"}

	c.applied(6*time.Second, func() { lab.Run(t, c.cache.Command(kill...)) }, // there may be none
		c.ajar, func() { c.goesBack("the guard killed too late") })
	goesBack("the guard killed before the deadline")

	// The lock is taken, so that the guard waits for it when it is killed.
	c.must(0, "go back at", "host", "apply", "--within", "15s") // time for the lock, on a busy machine
	lab.Sure(t, c.cache.Command("timeout", "120", "sh", "-c", "flock /var/lib/redoubt-host/lock sh -ec 'until pkill -KILL -f \"[h]ost guard\"; do :; done'"))
	goesBack("the guard killed at its work")

	// Nothing waits: the timer is stopped.
	c.must(0, "go back at", "host", "apply", "--within", "3s")
	lab.Sure(t, c.cache.Command("sh", "-c", "systemctl stop 'redoubt-host-guard-*.timer' 'redoubt-host-guard-*.service'; pkill -KILL -f '[h]ost guard'; true"))
	for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline); {
		c.must(1, "", "host", "check")
	}
	c.must(1, "it came too late", "host", "confirm")
	c.same("confirmed too late", before)
	c.open("confirmed too late")
}

// TestKilledAtAnyMoment: whatever was done by then, apply gets to its end, and undo
// back to the beginning.
func TestKilledAtAnyMoment(t *testing.T) {
	c := newClinic(t)
	before := c.disk()
	began := time.Now()
	c.must(0, "", "host", "apply", "--no-rollback")
	took := time.Since(began)
	c.must(0, "", "host", "undo")
	const moments = 24
	reached := map[string]int{}
	for i := range moments {
		apply := c.cache.Command("timeout", "--signal=KILL", fmt.Sprintf("%.4f", (took*time.Duration(i+1)/moments).Seconds()), "redoubt", "host", "apply", "--no-rollback")
		lab.Run(t, apply)
		if i%2 == 0 {
			c.must(0, "", "host", "apply", "--no-rollback")
			c.must(0, "", "host", "check")
			c.must(0, "", "host", "undo")
			reached["finished"]++
		} else if out, code := c.redoubt("host", "undo"); code == 1 && strings.Contains(out, "never run here") {
			reached["not begun"]++
		} else if code != 0 {
			t.Fatalf("undo after %d of %d: %s", i+1, moments, out)
		} else {
			reached["undone"]++
		}
		c.same(fmt.Sprintf("killed at %d of %d and undone", i+1, moments), before)
		if t.Failed() {
			return
		}
	}
	t.Logf("an apply takes %s; killed at %d moments: %v", took.Round(time.Millisecond), moments, reached)
	if reached["undone"] < 3 {
		t.Error("too few were killed on their way for this to mean much")
	}
}

// TestBadHostsAreRefusedBeforeAnythingIsChanged.
func TestBadHostsAreRefusedBeforeAnythingIsChanged(t *testing.T) {
	c := newClinic(t)
	c.must(2, "no host is called", "host", "plan", "--host", "web-9")
	c.must(2, "--within", "host", "apply", "--within", "2h")
	lab.Sure(t, c.cache.Command("sh", "-c", "echo Nonsense yes >> /etc/ssh/sshd_config"))
	before := c.disk()
	c.must(3, "Nonsense", "host", "apply")
	c.same("refused", before)
	lab.Sure(t, c.cache.Command("sed", "-i", "/Nonsense/d", "/etc/ssh/sshd_config"))

	lab.Sure(t, c.cache.Command("chmod", "o+w", "/usr/bin/redoubt"))
	c.must(3, "others than root can change", "host", "apply")
	lab.Sure(t, c.cache.Command("chmod", "o-w", "/usr/bin/redoubt"))
	// The file is root's; the directory it lies in is alice's, who could exchange it.
	lab.Sure(t, c.cache.Command("sh", "-ec", "mkdir ~alice/bin; cp /usr/bin/redoubt ~alice/bin; chown alice ~alice/bin"))
	if out, code := lab.Run(t, c.cache.Command("/home/alice/bin/redoubt", "host", "apply")); code != 3 || !strings.Contains(out, "who could exchange") {
		t.Errorf("from alice's directory: %d %s", code, out)
	}
	if out, code := lab.Run(t, c.cache.Command("setpriv", "--reuid=alice", "--regid=alice", "--clear-groups", "redoubt", "host", "plan")); code != 3 || !strings.Contains(out, "only root") {
		t.Errorf("as alice: %d %s", code, out)
	}
}

// TestKernelSettingsAreSetAndPutBack: files stand where the container has settings of
// the machine outside, which can't be set here.
func TestKernelSettingsAreSetAndPutBack(t *testing.T) {
	c := newClinic(t)
	settings := map[string]struct{ was, becomes string }{
		"/proc/sys/kernel/core_pattern":               {"|/usr/share/apport/apport %p", "|/bin/false"},
		"/proc/sys/fs/suid_dumpable":                  {"2", "0"},
		"/sys/kernel/mm/transparent_hugepage/enabled": {"[always] madvise never", "madvise"},
	}
	for path, s := range settings {
		stand := "/run/stand-" + strings.ReplaceAll(path[1:], "/", "-")
		lab.Sure(t, c.cache.Command("sh", "-c", fmt.Sprintf("echo '%s' > %s && mount --bind %[2]s %s", s.was, stand, path)))
	}
	are := func(when string, want func(path string) string) {
		t.Helper()
		for path := range settings {
			if got := strings.TrimSpace(lab.Sure(t, c.cache.Command("cat", path))); got != want(path) {
				t.Errorf("%s, %s is %q, want %q", when, path, got, want(path))
			}
		}
	}
	plan := c.must(0, "", "host", "plan", "--without", "ssh,firewall")
	if !strings.Contains(plan, "/proc/sys/kernel/core_pattern: |/usr/share/apport/apport %p  →  |/bin/false") {
		t.Error(plan)
	}
	c.must(0, "", "host", "apply", "--without", "ssh,firewall")
	are("applied", func(path string) string { return settings[path].becomes })
	c.must(0, "", "host", "check", "--without", "ssh,firewall")
	c.must(0, "", "host", "undo")
	are("undone", func(path string) string {
		if path == "/sys/kernel/mm/transparent_hugepage/enabled" {
			return "always" // the kernel adds the brackets
		}
		return settings[path].was
	})
}
