package verify

import (
	"context"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// leastRetention is how long the host itself keeps its log at least: who looks into an
// incident finds it weeks after (PCI DSS 4.0 10.5.1 wants three months at hand). What an
// organisation's policy asks for beyond it is kept elsewhere.
const leastRetention = 90 * 24 * time.Hour

var logsAreKept = Check{
	ID: "RD-621", Goal: evidence.Documented, From: OnBoth, OfHost: true,
	Title:      "The host's log is kept on a disk, no rule throws it away within 90 days, and others can neither read nor change it",
	Why:        "Who connected, what was refused and who became root stands there: without it an incident can't be looked into, and with it open who caused it looks first.",
	Mend:       "Set Storage=persistent and no MaxRetentionSec below 90day in /etc/systemd/journald.conf.d/, make /var/log/journal root's (systemd-tmpfiles --create --prefix /var/log/journal), and restart systemd-journald. Where logs are sent elsewhere and kept there, an exception says where.",
	References: []string{"45 CFR 164.312(b)", "45 CFR 164.308(a)(1)(ii)(D)", "NIST SP 800-53r5 AU-9", "NIST SP 800-53r5 AU-11"},
	Needs:      []Need{needRoot},
	Run: func(ctx context.Context, _ *Target, n *Notes) Finding {
		j, err := host.ReadJournal(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Fact("Storage", j.Storage)
		n.Saw("on a disk: %v; SystemMaxUse: %q (\"\": journald's own, a tenth of the file system); MaxRetentionSec: %v (0s: none)", j.OnDisk, j.Limit, j.Retention)
		switch {
		case !j.OnDisk:
			return n.Fail("it is gone with a restart (Storage=%s)", j.Storage)
		case j.Retention > 0 && j.Retention < leastRetention:
			return n.Fail("it is thrown away after %v (MaxRetentionSec)", j.Retention)
		case j.Exposed != "":
			return n.Fail("%s", j.Exposed)
		}
		return n.Pass("on a disk, as long as its space lasts, for root and who may read logs")
	},
}
