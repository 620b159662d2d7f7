package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// needFront: the process that faces the network is known.
func needFront(_ context.Context, t *Target) string {
	if len(t.front()) == 0 {
		return "needs the running gateway and its front (redoubt status)"
	}
	return ""
}

const mendTheFront = "Restart the gateway as root (or with its unit), on a kernel that has the protection (redoubt up prints what is missing)."

var needFrontAsRoot = []Need{needRoot, needFront}

var frontIsNobody = Check{
	ID: "RD-421", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "What faces the network is a process of its own: of a user and a group that no other process has, without any capability, in a network name space of its own, each thread behind a filter of system calls",
	Why:        "Strangers talk to it. A flaw in what it parses then gives neither root, nor the engine, nor the CA's key, nor a way to another host.",
	Mend:       mendTheFront + " End the process that is named as having its user.",
	References: append([]string{"NIST SP 800-53r5 SC-7"}, askForIsolation...),
	Needs:      needFrontAsRoot,
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		front, gateway := t.front()[0], process{"gateway", t.Cache.PID}
		s, err := front.status()
		if err != nil {
			return n.Skip("%v", err)
		}
		uids, gids := slices.Compact(strings.Fields(s["Uid"])), slices.Compact(strings.Fields(s["Gid"]))
		n.Saw("process %d, PPid %s: Uid %v, Gid %v, Groups %q", front.pid, s["PPid"], uids, gids, s["Groups"])
		if s["PPid"] != fmt.Sprint(gateway.pid) {
			return n.Fail("process %d isn't the gateway's: its parent is %s", front.pid, s["PPid"])
		}
		if len(uids) != 1 || uids[0] == "0" || len(gids) != 1 || gids[0] == "0" || s["Groups"] != "" {
			return n.Fail("it runs as uid %v, gid %v, in the groups %q", uids, gids, s["Groups"])
		}
		for _, field := range capabilityFields {
			n.Saw("%s %s", field, s[field])
			if strings.Trim(s[field], "0") != "" {
				return n.Fail("it has capabilities: %s %s", field, s[field])
			}
		}
		others, all, err := sharing(uids[0], gids[0], front.pid, front.pid)
		if err != nil {
			return n.Skip("%v", err)
		}
		if len(others) > 0 {
			return n.Fail("its user is not its own: %s", others[0])
		}
		if f := ownNamespaces(front, gateway, n, "net"); f.outcome != evidence.Pass {
			return f
		}
		if f := ownFilter(front, gateway, n); f.outcome != evidence.Pass {
			return f
		}
		return n.Pass("uid %s, gid %s, which no other of %d processes has; no capability, no network, a filter of its own", uids[0], gids[0], all)
	},
}

var frontHoldsNoFile = Check{
	ID: "RD-422", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "What faces the network has no file open, and a limit to how many descriptors it can have",
	Why:        "What was opened before its sandbox stood could be read or written after. Its connections to the engine are handed to it one by one; how many it can hold, the kernel counts.",
	Mend:       mendTheFront,
	References: append([]string{"NIST SP 800-53r5 AC-4"}, askForIsolation...),
	Needs:      needFrontAsRoot,
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		front := t.front()[0]
		list, err := front.descriptors()
		if err != nil {
			return n.Skip("its open files can't be looked at: %v", err)
		}
		kinds := map[string]int{}
		for _, d := range list {
			kind, _, _ := strings.Cut(d.to, ":")
			kinds[kind]++
			switch {
			case kind == "socket" || kind == "pipe" || d.to == "anon_inode:[eventpoll]" || d.to == "anon_inode:[eventfd]":
			case d.to == "/dev/null", strings.HasPrefix(d.to, "/memfd:redoubt-front "): // new credentials, sealed, while they are read
			default:
				return n.Fail("descriptor %s is %s", d.number, d.to)
			}
		}
		n.Saw("descriptors by kind: %v", kinds)
		soft, hard, err := front.limit("Max open files")
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("Max open files: %s, %s", soft, hard)
		if soft == "unlimited" || hard == "unlimited" {
			return n.Fail("it may have any number of descriptors")
		}
		return n.Pass("sockets and what waits for them alone, of %s at most", hard)
	},
}

var frontIsRefused = Check{
	ID: "RD-423", Goal: evidence.AtRest, From: OnCache,
	Title:      "In the sandbox of what faces the network, on this kernel, everything is refused that a taken engine would try as well, and the process that runs shows the marks of that sandbox",
	Why:        "What the kernel reports of a sandbox says that it is there; what is attempted in it says that it holds. The attempts are made by a program of their own: the marks say that the front is where they were made. Of Landlock the kernel shows no mark.",
	Mend:       mendTheFront,
	References: append([]string{"NIST SP 800-53r5 CA-8"}, askForIsolation...),
	Needs:      needFrontAsRoot,
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		kernel := sandbox.Probe()
		n.Fact("kernel", kernel.String())
		front := t.front()[0]
		uid, _, err := front.ids()
		if err != nil {
			return n.Skip("%v", err)
		}
		if uid != 0 { // not the front's own, which is nobody else's (RD-421)
			if uid, err = sandbox.FreeUID(); err != nil {
				return n.Skip("%v", err)
			}
		}
		trial, err := sandbox.TryPart(ctx, uid, uid, kernel.Namespaces)
		if err != nil {
			return n.Skip("nothing could be attempted: %v", err)
		}
		if f := refusals(trial.Attempts, kernel, n); f.outcome != evidence.Pass {
			return f
		}
		if f := sameMarks(front, process{"gateway", t.Cache.PID}, trial.Status, n); f.outcome != evidence.Pass {
			return f
		}
		return n.Pass("attempts that succeed outside are refused, each (%s), and the front bears the marks of the sandbox", kernel)
	},
}
