package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

const (
	// outsideWithin is how long an outsider knocks at one port; a filter that drops
	// answers nothing.
	outsideWithin = 2 * time.Second
	// outsideAtOnce keeps a large deployment within the time of a check.
	outsideAtOnce = 16
)

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
	Needs:      []Need{needHosts},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
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

var outsiderMeetsNothingElse = Check{
	ID: "RD-142", Goal: evidence.Environment, From: Outside,
	Title:      "Where a Redis usually listens, a cache host answers an outsider nowhere",
	Why:        "A Redis that a package started, or its cluster bus, a Sentinel or an exporter, is a way to data or settings that nobody watches.",
	Mend:       "Look on that host what listens there (ss -ltnp), end it, and load the packet filter (redoubt render nftables).",
	References: askForBoundary,
	Needs:      []Need{needHosts},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		var addresses []string
		for _, g := range t.Hosts.Gateways {
			for _, a := range g.Address {
				for _, port := range usualPorts {
					if port != g.Port { // which is RD-140's
						addresses = append(addresses, net.JoinHostPort(a.Addr().String(), fmt.Sprint(port)))
					}
				}
			}
		}
		return outOfReach(ctx, n, addresses)
	},
}

// usualPorts are those of Redis, its TLS by custom, its exporter for Prometheus, its
// cluster bus (port + 10000) and Sentinel.
var usualPorts = []int{6379, 6380, 9121, 16379, 26379}

// outOfReach says that no connection comes about to any of them, and that each was
// really tried: one attempt an address.
func outOfReach(ctx context.Context, n *Notes, addresses []string) Finding {
	failures := make([]error, len(addresses)) // nil: connected
	places := make(chan struct{}, outsideAtOnce)
	var all sync.WaitGroup
	for i, address := range addresses {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			failures[i] = reach(ctx, address)
		})
	}
	all.Wait()
	untried := 0
	for i, address := range addresses {
		err := failures[i]
		switch {
		case err == nil:
			n.Saw("%s: connected", address)
		case kept(err):
			n.Saw("%s: %v", address, err)
		default:
			n.Saw("%s: not tried: %v", address, err)
			untried++
		}
	}
	if i := slices.Index(failures, nil); i >= 0 {
		return n.Fail("%s can be reached from here", addresses[i])
	}
	if untried > 0 {
		return n.Skip("%d of %d addresses could not be tried from here, which shows nothing", untried, len(addresses))
	}
	return n.Pass("out of reach: %d", len(addresses))
}

// errUntried says that the check's own time was over, which is no silence of the host.
var errUntried = errors.New("the check's time is over")

// reach is nil if a connection comes about.
func reach(ctx context.Context, address string) error {
	if ctx.Err() != nil {
		return errUntried
	}
	conn, err := (&net.Dialer{Timeout: outsideWithin}).DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
		return nil
	}
	if ctx.Err() != nil {
		return errUntried
	}
	return err
}

// kept says whether the other side kept us out: it refused, was silent, or a router
// said that it can't be reached. To have no way there, or not to be let out, is not that.
func kept(err error) bool {
	for _, answer := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH} {
		if errors.Is(err, answer) {
			return true
		}
	}
	var silence net.Error
	return errors.As(err, &silence) && silence.Timeout()
}
