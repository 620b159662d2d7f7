package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var nobodyCaptures = Check{
	ID: "RD-406", Goal: evidence.AtRest, From: OnBoth, Cheap: true,
	Title:      "Nobody captures the packets between application and sidecar",
	Why:        "Between the two, values pass in the clear: who listens there (tcpdump, a sniffing agent) reads them, and mostly writes them to a file. The same is handed out by a rule of a packet filter (NFLOG, queue).",
	Mend:       "End the program that is named. What listens on another interface alone, as a DHCP client does, is no matter: there everything is TLS. A daemon of the packet filter's log (ulogd) may take packets whole: have it take less, or let an exception say what its rules are.",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 SC-4", "NIST SP 800-53r5 SC-28"},
	Needs:      []Need{needRoot, needProcesses},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		everywhere := t.App != nil && beyondLoopback(t.App.Bound)
		for _, p := range t.roles() {
			table, err := p.read("net", "packet")
			if errors.Is(err, fs.ErrNotExist) {
				n.Saw("%s, process %d: its kernel has no packet sockets", p.name, p.pid)
				continue
			}
			if err != nil {
				return n.Skip("%v", err)
			}
			list, err := parseCaptures(table)
			if err != nil {
				return n.Skip("%s: %v", p.path("net", "packet"), err)
			}
			n.Saw("%s, process %d: packet sockets in its network namespace: %d", p.name, p.pid, len(list))
			for _, c := range list {
				by := holderOf(c.inode)
				n.Saw("protocol %04x, interface %d, of %s", c.protocol, c.iface, by)
				if c.ofIP() && (everywhere || c.iface == 0 || c.iface == loopbackIndex) {
					return n.Fail("packets are captured by %s", by)
				}
			}
			for _, table := range []string{"nfnetlink_log", "nfnetlink_queue"} {
				list, err := p.takers(table)
				if err != nil {
					return n.Skip("%v", err)
				}
				n.Saw("%s, process %d: who takes whole packets by way of %s: %d", p.name, p.pid, table, len(list))
				if len(list) > 0 {
					return n.Fail("a packet filter may hand packets to netlink port %s, mostly the process of that number (%s)", list[0], table)
				}
			}
		}
		return n.Pass("no packet socket takes IP packets there, and no program those that a packet filter hands on")
	},
}

// takers are the netlink ports of those who take packets with their content from rules of
// a packet filter: its log's (NFLOG, nft log group), and those that wait in a queue.
// Which packets these are, any rule says that is made later too.
func (p process) takers(table string) (list []string, err error) {
	text, err := p.read("net", "netfilter", table)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its kernel has none, or hasn't loaded it
	}
	if err != nil {
		return nil, err
	}
	// group, port, waiting, copied: 0 nothing, 1 what is known of a packet, 2 the packet
	// (the kernel's net/netfilter/nfnetlink_log.c and _queue.c, seq_show).
	const whole = "2"
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return nil, fmt.Errorf("%s: %.80q is no line of it", p.path("net", "netfilter", table), line)
		}
		if fields[3] == whole {
			list = append(list, fields[1])
		}
	}
	return list, nil
}

// beyondLoopback says whether what reaches an address may come over another interface
// than lo: from a container's, say. A unix socket is no such address.
func beyondLoopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && !a.Addr().Unmap().IsLoopback()
}

// loopbackIndex is lo's in every network namespace (LOOPBACK_IFINDEX, net/flow.h).
const loopbackIndex = 1

// A capture is a socket that takes whole packets (packet(7)).
type capture struct {
	protocol uint16 // linux/if_ether.h
	iface    int    // 0: all
	inode    string
}

// ofIP says whether it takes IP packets, or all. Others (ARP, LLDP, EAPOL) have no
// payload of ours.
func (c capture) ofIP() bool {
	const all, ip, ipv6 = 0x0003, 0x0800, 0x86dd
	switch c.protocol {
	case all, ip, ipv6:
		return true
	}
	return false
}

// parseCaptures reads /proc/PID/net/packet: sk RefCnt Type Proto Iface R Rmem User Inode.
func parseCaptures(table string) (list []capture, err error) {
	first := true
	for line := range strings.Lines(table) {
		if first {
			first = false
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 9 {
			return nil, fmt.Errorf("%.80q is no line of it", line)
		}
		protocol, err := strconv.ParseUint(fields[3], 16, 16)
		iface, err2 := strconv.Atoi(fields[4])
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		list = append(list, capture{uint16(protocol), iface, fields[8]})
	}
	return list, nil
}

// holderOf is the process that has a socket open, for people.
func holderOf(inode string) string {
	p, found := havingOpen(inode)
	if !found {
		return "the kernel, or a process that isn't seen from here"
	}
	s, _ := p.status()
	return fmt.Sprintf("process %d (%s)", p.pid, s["Name"])
}

// havingOpen is a process that has a socket open.
func havingOpen(inode string) (holder process, found bool) {
	list, err := processes()
	if err != nil {
		return holder, false
	}
	for _, p := range list {
		if open, err := p.sockets(); err == nil && open[inode] {
			return p, true
		}
	}
	return holder, false
}
