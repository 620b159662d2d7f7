//go:build slow

package hosts_test

import (
	"os"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestWhatDefeatsTheDropInIsNamed: whatever has sshd do otherwise than our drop-in says
// is found by plan, apply, check and verify, with the file and line that it stands in.
// That alice gets in by password is what each of them is about.
func TestWhatDefeatsTheDropInIsNamed(t *testing.T) {
	c := newClinic(t)
	// Root doesn't wait for what a user has put where his keys would be.
	lab.Sure(t, c.cache.Command("sh", "-c", "install -d -o alice -g alice ~alice/.ssh && setpriv --reuid=alice --regid=alice --clear-groups mkfifo ~alice/.ssh/authorized_keys"))
	c.must(0, "nobody could log in by ssh", "host", "plan")
	lab.Sure(t, c.cache.Command("sh", "-c", "rm ~alice/.ssh/authorized_keys"))
	c.giveKey()
	script := func(text string) { t.Helper(); lab.Sure(t, c.cache.Command("sh", "-c", text)) }
	found := func(how, at string) {
		t.Helper()
		if got := c.byPassword(c.bastion, "alice"); got != "in" {
			t.Errorf("%s: the control doesn't get in: %s", how, got)
		}
		c.must(1, "is otherwise", "host", "check")
		c.must(0, at, "host", "plan")
		c.must(1, at, "host", "apply", "--no-rollback")
		out, _ := c.redoubt("verify", "--deployment", "/etc/redoubt/deployment.yaml")
		for _, id := range []string{"RD-121", "RD-127"} {
			if !strings.Contains(out, "FAIL      "+id) || !strings.Contains(out, at) {
				t.Errorf("%s: %s\n%s", how, id, out)
			}
		}
	}
	sound := func() {
		t.Helper()
		c.must(0, "ssh: nothing to change", "host", "check")
		if got := c.byPassword(c.bastion, "alice"); !strings.Contains(got, "Permission denied (publickey)") {
			t.Errorf("sound: %s", got)
		}
	}

	// verify needs a role to look at, if not one that runs.
	if err := os.WriteFile(c.cache.Path("/etc/redoubt/gateway.yaml"), []byte("deployment: clinic\nname: cache-1\nlisten: 10.77.0.2:6379\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const custom = "/etc/ssh/sshd_config.d/00-custom.conf"
	if err := os.WriteFile(c.cache.Path(custom), []byte("# ours\nPasswordAuthentication yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.must(0, custom+":2", "host", "plan")
	c.must(1, "passwordauthentication is yes for", "host", "apply", "--no-rollback")
	found("a file that comes first", "by "+custom+":2")
	script("rm " + custom + " && systemctl restart ssh")
	sound()

	script("cp -a /etc/ssh/sshd_config /root/ && printf 'Match User alice\\n\\tPasswordAuthentication yes\\n' >> /etc/ssh/sshd_config && systemctl restart ssh")
	found("a Match at the end", "in the Match of /etc/ssh/sshd_config:")
	script("cp -a /root/sshd_config /etc/ssh/ && systemctl restart ssh")
	sound()

	script("echo 'SSHD_OPTS=\"-o PasswordAuthentication=yes\"' > /etc/default/ssh && systemctl restart ssh")
	found("its own argument", "sshd's argument -o PasswordAuthentication=yes")
	script("echo SSHD_OPTS= > /etc/default/ssh && systemctl restart ssh")
	sound()

	// Nothing runs, and one is started for whoever comes.
	script("printf '[Socket]\\nListenStream=2200\\n' > /etc/systemd/system/ssh.socket && systemctl daemon-reload && systemctl disable --now ssh.service && systemctl start ssh.socket && mkdir -p /run/sshd && echo 'SSHD_OPTS=\"-o PasswordAuthentication=yes\"' > /etc/default/ssh")
	c.must(1, "are otherwise", "host", "check")
	c.must(0, "by sshd's argument -o PasswordAuthentication=yes", "host", "plan")
}
