//go:build slow

package hosts_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestTheFilterComesBack: whatever takes the packet filter away, within a second it is
// there again, to the letter; and those who can't ask the kernel are told how it stands.
func TestTheFilterComesBack(t *testing.T) {
	c := newClinic(t)
	c.giveKey()
	on := func(script string) string {
		t.Helper()
		return strings.TrimSpace(lab.Sure(t, c.cache.Command("sh", "-ec", script)))
	}
	c.must(0, "", "host", "apply", "--no-rollback")
	c.must(0, "", "host", "check")
	const list = "nft --stateless list table inet redoubt 2>&1"
	whole := on(list)
	for _, act := range []string{
		"nft flush ruleset", "nft delete table inet redoubt", "nft flush table inet redoubt",
		"nft add chain inet redoubt inbound '{ policy accept; }'", "nft add rule inet redoubt inbound tcp dport 23 accept", "nft add element inet redoubt bastions4 '{ 10.77.0.66 }'",
		"systemctl enable --now nftables", "systemctl restart nftables", "systemctl reload nftables", "systemctl stop nftables", "systemctl start nftables",
		"systemctl kill --signal=KILL redoubt-filter; nft flush ruleset",
		"for i in $(seq 100); do nft flush ruleset; done", // also while it loads and looks
	} {
		bound := lab.Promised(t, time.Second)
		took, err := strconv.Atoi(on(list + ` > /run/before
( ` + act + ` ) >/dev/null 2>&1
ended=$(date +%s%N)
until ` + list + ` | cmp -s - /run/before; do
	[ $(( ($(date +%s%N) - ended) / 1000000 )) -lt 60000 ] || break
done
echo $(( ($(date +%s%N) - ended) / 1000000 ))`))
		t.Logf("%s: as before after %d ms", act, took)
		most := bound()
		if now := on(list); err != nil || took > int(most.Milliseconds()) || now != whole {
			t.Errorf("%s: after %d ms, of %s (%v)\n%s\n%s", act, took, most, err, now, on("journalctl --no-pager -n 20 -u redoubt-filter"))
		}
	}
	c.closed("after all that")
	if plan := c.must(0, "", "host", "plan"); !strings.Contains(plan, "nftables.service is enabled") {
		t.Error(plan)
	}
	if said := on("setpriv --reuid=alice --regid=alice --clear-groups cat /run/redoubt-host/filter.json"); !strings.Contains(said, `"in_force":true`) {
		t.Error(said)
	}
	if outcome, all := c.judged("RD-132"); outcome != "pass" {
		t.Errorf("%s\n%s", outcome, all)
	}

	// A start of the host at which nftables.service is slow.
	on("mkdir /etc/systemd/system/nftables.service.d && printf '[Service]\\nExecStartPre=sleep 3\\n' > /etc/systemd/system/nftables.service.d/slow.conf")
	c.cache.PowerOff()
	c.cache.Boot()
	if on("systemctl is-active nftables") != "active" || on(list) != whole {
		t.Errorf("after a start with a slow ruleset:\n%s", on(list))
	}
	c.closed("after a start with a slow ruleset")

	// Nothing keeps it any more: that is seen.
	on("systemctl stop redoubt-filter")
	if outcome, all := c.judged("RD-132"); outcome != "FAIL" {
		t.Errorf("%s\n%s", outcome, all)
	}
	c.must(1, "redoubt-filter.service: not running", "host", "check")
	c.must(0, "1 change made", "host", "apply", "--no-rollback")
	c.must(0, "as it was before", "host", "undo")
	if out := on("nft list ruleset; systemctl is-active redoubt-filter || true"); strings.Contains(out, "redoubt") || !strings.Contains(out, "inactive") {
		t.Errorf("undone: %s", out)
	}
}

// TestAHostWithoutItsFilterDoesNotServe: its file is broken, or nft is; the cache stays
// away, and as far as nft can the host is closed but for ssh from bastions.
func TestAHostWithoutItsFilterDoesNotServe(t *testing.T) {
	s := newServed(t)
	for _, m := range []*lab.Machine{s.cache, s.web} {
		s.on(m, "redoubt host apply --no-rollback")
		failing := func() bool { return strings.Contains(s.on(m, "redoubt status || true"), "RD-132") }
		s.on(m, "systemctl stop redoubt-filter")
		s.until("the role sees that nobody keeps the filter", failing)
		s.on(m, "systemctl start redoubt-filter")
		s.until("and that somebody does", func() bool { return !failing() })
	}
	s.until("it serves", func() bool { return s.ask("PING") == "PONG" })
	restart := func() {
		t.Helper()
		s.cache.PowerOff()
		s.cache.Boot()
	}
	for _, broken := range []struct{ how, break_, mend, table string }{
		{"a file that nft doesn't take", "echo nonsense >> /etc/redoubt/nftables.conf", "redoubt host apply --no-rollback", "policy drop"},
		{"no nft", "chmod -x /usr/sbin/nft", "chmod +x /usr/sbin/nft", ""},
	} {
		s.on(s.cache, broken.break_)
		restart()
		out, _ := lab.Run(t, s.cache.Command("systemctl", "is-active", "redoubt-host", "redoubt-gateway"))
		if strings.Contains(out, "\nactive") || !strings.HasPrefix(out, "failed\ninactive") {
			t.Errorf("%s: redoubt-host and redoubt-gateway are %s", broken.how, out)
		}
		if got := s.ask("PING"); got == "PONG" {
			t.Errorf("%s: it serves", broken.how)
		}
		if table, _ := lab.Run(t, s.cache.Command("nft", "list", "table", "inet", "redoubt")); !strings.Contains(table, broken.table) || strings.Contains(table, "6379") {
			t.Errorf("%s: %s", broken.how, table)
		}
		s.on(s.cache, broken.mend+"; systemctl start redoubt-host redoubt-gateway")
		s.until("it serves again", func() bool { return s.ask("PING") == "PONG" })
	}
}
