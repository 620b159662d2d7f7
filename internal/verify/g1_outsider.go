package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	outsideAtOnce = 64
)

var askForBoundary = []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 AC-4"}

var outsiderMeetsNoCache = Check{
	ID: "RD-140", Goal: evidence.Environment, From: Outside,
	Title:      "A host that is not of the deployment doesn't reach the cache's port",
	Why:        "What can't be reached can't be attacked, not even by a flaw that nobody knows yet.",
	Mend:       "Load the packet filter on the cache host (redoubt render nftables), and look whether a cloud's security group is wider.",
	References: askForBoundary,
	Needs:      []Need{needHosts},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		var v visit
		for _, h := range t.neighbours(time.Now()) {
			if h.port != 0 {
				v.expect(h, h.port, "the gateway")
				v.add(h, h.port)
			}
		}
		return t.outOfReach(ctx, n, v)
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
		var v visit
		for _, h := range t.neighbours(time.Now()) {
			v.expect(h, t.Hosts.SSHPort, "sshd")
			v.add(h, t.Hosts.SSHPort)
			if h.listens(22) { // where it is unless somebody has moved it
				v.add(h, 22)
			}
		}
		return t.outOfReach(ctx, n, v)
	},
}

var outsiderMeetsNothingElse = Check{
	ID: "RD-142", Goal: evidence.Environment, From: Outside,
	Title:      "Where a Redis usually listens no host answers an outsider, and a cache host answers nowhere",
	Why:        "A Redis that a package started, or its cluster bus, a Sentinel or an exporter, is a way to data or settings that nobody watches.",
	Mend:       "Look on that host what listens there (ss -ltnp), end it, and load the packet filter (redoubt render nftables).",
	References: askForBoundary,
	Needs:      []Need{needHosts},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		var v visit
		for _, h := range t.neighbours(time.Now()) {
			v.expect(h, 0, "")
			ports := slices.Clone(usualPorts)
			if h.port != 0 {
				for _, open := range h.open {
					ports = append(ports, int(open.Port()))
				}
			}
			for _, port := range ports {
				if port != h.port && port != t.Hosts.SSHPort { // which are RD-140's and RD-141's
					v.add(h, port)
				}
			}
		}
		return t.outOfReach(ctx, n, v)
	},
}

// usualPorts are those of Redis, its TLS by custom, its exporter for Prometheus, its
// cluster bus (port + 10000) and Sentinel.
var usualPorts = []int{6379, 6380, 9121, 16379, 26379}

// A visit is where an outsider knocks, and what is lacking for its silence to show
// anything.
type visit struct {
	addresses []netip.AddrPort
	lacking   []string
}

// add has a port tried at each of a host's addresses, once.
func (v *visit) add(h neighbour, port int) {
	for _, a := range h.addresses {
		if at := netip.AddrPortFrom(a, uint16(port)); !slices.Contains(v.addresses, at) {
			v.addresses = append(v.addresses, at)
		}
	}
}

// expect says what is lacking if the host told nothing of itself, or nothing listens
// there on the port that must be out of reach; port 0: any will do.
func (v *visit) expect(h neighbour, port int, what string) {
	switch {
	case h.untold != "":
		v.lacking = append(v.lacking, h.untold)
	case port != 0 && !h.listens(port):
		v.lacking = append(v.lacking, fmt.Sprintf("by the report of %s nothing listens on port %d there: that %s can't be reached shows nothing", h.name, port, what))
	}
}

// outOfReach says that no connection comes about to any of them, that each was really
// tried, and that silence means something: one attempt an address.
func (t *Target) outOfReach(ctx context.Context, n *Notes, v visit) Finding {
	if len(v.addresses) == 0 && len(v.lacking) == 0 {
		return n.Skip("there is no address to knock at, which shows nothing")
	}
	failures := make([]error, len(v.addresses)) // nil: connected
	places := make(chan struct{}, outsideAtOnce)
	var all sync.WaitGroup
	for i, address := range v.addresses {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			failures[i] = reach(ctx, address.String())
		})
	}
	all.Wait()
	untried := 0
	for i, address := range v.addresses {
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
		return n.Fail("%s can be reached from here", v.addresses[i])
	}
	if untried > 0 {
		return n.Skip("%d of %d addresses could not be tried from here, which shows nothing", untried, len(v.addresses))
	}
	for _, lack := range v.lacking {
		n.Saw("not shown: %s", lack)
	}
	if len(v.lacking) > 0 {
		return n.Skip("out of reach: %d addresses; but not shown for all: %s", len(v.addresses), v.lacking[0])
	}
	control, err := t.control(ctx)
	if err != nil {
		return n.Skip("out of reach: %d addresses; but %v", len(v.addresses), err)
	}
	n.Saw("the control: %s", control)
	whose := ""
	if !t.Authenticated {
		whose = "; by reports that are not authenticated (--ca)"
	}
	return n.Pass("out of reach: %d, while the control answers%s", len(v.addresses), whose)
}

// control connects to what must answer an outsider: else its own network may keep in
// whatever it sends.
func (t *Target) control(ctx context.Context) (answers string, err error) {
	return t.controlled.get(func() (string, error) {
		if len(t.Controls) == 0 {
			return "", errors.New("silence proves nothing without a control: name a port that must answer this host, best the same port on a host beside the cache (--control HOST:PORT)")
		}
		for _, address := range t.Controls {
			conn, err := (&net.Dialer{Timeout: outsideWithin}).DialContext(ctx, "tcp", address)
			if err != nil {
				return "", fmt.Errorf("silence proves nothing: the control doesn't answer either: %v", err)
			}
			conn.Close()
			here, there := conn.LocalAddr().(*net.TCPAddr), conn.RemoteAddr().(*net.TCPAddr)
			if here.IP.Equal(there.IP) {
				return "", fmt.Errorf("silence proves nothing: the control %s is this very host", address)
			}
			answers = fmt.Sprintf("%s connects", address)
		}
		return answers, nil
	})
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
