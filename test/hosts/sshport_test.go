//go:build slow

package hosts_test

import (
	"os"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// judged is what redoubt verify says of one check on the cache host, where no gateway
// needs to run for it.
func (c *clinic) judged(id string) (outcome, all string) {
	c.t.Helper()
	const config = "deployment: clinic\nname: cache-1\nlisten: 10.77.0.2:6379\npki: {dir: ca}\nengine: {memory: 64mb, max_value: 8mb}\n"
	if err := os.WriteFile(c.cache.Path("/etc/redoubt/gateway.yaml"), []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
	out, _ := c.redoubt("verify", "--deployment", "/etc/redoubt/deployment.yaml")
	os.Remove(c.cache.Path("/etc/redoubt/gateway.yaml"))
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 1 && words[1] == id {
			return words[0], out
		}
	}
	return "", out
}

// TestSSHIsServedWhereTheFilterLooks: a file that says another port than the one where
// sshd is, an sshd that systemd listens for elsewhere, and one that somebody started by
// hand. Nothing is changed then, and who asks is told.
func TestSSHIsServedWhereTheFilterLooks(t *testing.T) {
	c := newClinic(t)
	c.giveKey()
	on := func(script string) {
		t.Helper()
		lab.Sure(t, c.cache.Command("sh", "-ec", script))
	}
	if outcome, all := c.judged("RD-131"); outcome != "pass" {
		t.Errorf("as Debian made it: %s\n%s", outcome, all)
	}
	before := c.disk()
	for _, wrong := range []struct{ how, break_, mend, says string }{
		{"the file", "sed -i '$a ssh_port: 2222' /etc/redoubt/deployment.yaml", "sed -i '/ssh_port/d' /etc/redoubt/deployment.yaml", "0.0.0.0:22 (sshd"},
		{"a further port", "printf 'Port 22\\nPort 2022\\n' > /etc/ssh/sshd_config.d/port.conf", "rm /etc/ssh/sshd_config.d/port.conf", "0.0.0.0:2022 (sshd -T)"},
		{"systemd's socket", "mkdir /etc/systemd/system/ssh.socket.d; printf '[Socket]\\nListenStream=\\nListenStream=2200\\n' > /etc/systemd/system/ssh.socket.d/port.conf; systemctl daemon-reload; systemctl stop ssh; systemctl start ssh.socket",
			"systemctl stop ssh.socket; rm -r /etc/systemd/system/ssh.socket.d; systemctl daemon-reload; systemctl start ssh", "2200 (ssh.socket)"},
		{"another sshd", "/usr/sbin/sshd -p 2022 -o PidFile=/run/other.pid", "kill $(cat /run/other.pid); while ss -Hltn | grep -q 2022; do :; done", "0.0.0.0:2022 (sshd, process"},
	} {
		on(wrong.break_)
		for command, code := range map[string]int{"plan": 0, "check": 1, "apply": 3} {
			if out, got := c.redoubt("host", command); got != code || !strings.Contains(out, wrong.says) {
				t.Errorf("%s, %s: exit code %d, want %d and %q\n%s", wrong.how, command, got, code, wrong.says, out)
			}
		}
		if outcome, all := c.judged("RD-131"); outcome != "FAIL" {
			t.Errorf("%s: %q\n%s", wrong.how, outcome, all)
		}
		on(wrong.mend)
		c.same(wrong.how+" put right", before)
	}
	c.must(0, "host confirm", "host", "apply")
	c.closed("applied in the end")
}
