package verify

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// outsideWithin is how long an outsider knocks at one port; a filter that drops
// answers nothing.
const outsideWithin = 2 * time.Second

var askForBoundary = []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 AC-4"}

var outsiderMeetsNoCache = Check{
	ID: "RD-140", Goal: evidence.Environment, From: Outside,
	Title:      "A host that is not of the deployment doesn't reach the cache's port",
	Why:        "What can't be reached can't be attacked, not even by a flaw that nobody knows yet.",
	Mend:       "Load the packet filter on the cache host (redoubt render nftables), and look whether a cloud's security group is wider.",
	References: askForBoundary,
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		var addresses []string
		for _, d := range t.Doors {
			addresses = append(addresses, d.Address)
		}
		return outOfReach(ctx, n, addresses)
	},
}

var outsiderMeetsNoSSH = Check{
	ID: "RD-141", Goal: evidence.Environment, From: Outside,
	Title:      "A host that is no bastion doesn't reach ssh",
	Why:        "ssh is the other way onto every host: it is open to bastions alone, where people's access is watched.",
	Mend:       "Load the packet filter on that host (redoubt render nftables), and look whether a cloud's security group is wider.",
	References: append([]string{"NIST SP 800-53r5 AC-17"}, askForBoundary...),
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		if t.Hosts == nil {
			return n.Skip("which hosts there are stands in the deployment's file: name it with --deployment")
		}
		var addresses []string
		add := func(host string) {
			addresses = append(addresses, net.JoinHostPort(host, fmt.Sprint(t.Hosts.SSHPort)))
		}
		for _, g := range t.Hosts.Gateways {
			for _, a := range g.Address {
				add(a.Addr().String())
			}
		}
		for _, app := range t.Hosts.Apps {
			for _, a := range app.Address { // of a network's hosts nothing is known here
				add(a.Addr().String())
			}
		}
		return outOfReach(ctx, n, addresses)
	},
}

// outOfReach says that no connection comes about to any of them.
func outOfReach(ctx context.Context, n *Notes, addresses []string) Finding {
	for _, address := range addresses {
		conn, err := (&net.Dialer{Timeout: outsideWithin}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			n.Saw("%s: connected", address)
			return n.Fail("%s can be reached from here", address)
		}
		n.Saw("%v", err)
	}
	return n.Pass("out of reach: %d", len(addresses))
}
