package verify

import (
	"context"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// mostOff is how far a clock may be off: certificates are dated back by as much as
// five minutes (pki.ClockSkew), and records of two hosts are laid side by side.
const mostOff = time.Minute

var clockIsInStep = Check{
	ID: "RD-620", Goal: evidence.Documented, From: Anywhere, OfHost: true,
	Title:      "Something keeps the host's clock in step",
	Why:        "Certificates, passwords' ends and every record go by it: a clock that is off lets the ended in, and makes two hosts' logs contradict each other.",
	Mend:       "Install and enable chrony or systemd-timesyncd (timedatectl set-ntp true). In a container or a virtual machine that gets its time from below, an exception says so.",
	References: []string{"45 CFR 164.312(b)", "NIST SP 800-53r5 AU-8", "NIST SP 800-53r5 SC-45"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		synchronised, off, err := host.Clock()
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("adjtimex: synchronised %v, off by at most %v", synchronised, off)
		switch {
		case !synchronised:
			return n.Fail("the kernel says that nothing keeps it in step")
		case off > mostOff:
			return n.Fail("it may be off by %v", off)
		}
		return n.Pass("in step, off by at most %v", off)
	},
}
