package verify

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

var (
	askForIsolation    = []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 SC-39", "NIST SP 800-53r5 AC-6", "NIST SP 800-53r5 SC-28"}
	restartTheSandbox  = "Restart the gateway as root, on a kernel that has the protection (redoubt up prints what is missing), and look for a second engine that somebody else started."
	needEngineAsRoot   = []Need{needRoot, needEngine}
	capabilityFields   = []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
	namespacesOfItsOwn = []string{"net", "ipc", "uts"}
)

// onEngine is a check's Run that looks at the engine's process.
func onEngine(look func(p process, a engine.Audit, n *Notes) Finding) func(context.Context, *Target, *Notes) Finding {
	return auditing(func(a engine.Audit, n *Notes) Finding { return look(process{"engine", a.PID}, a, n) })
}

var callsAreFiltered = Check{
	ID: "RD-411", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "The kernel filters the system calls of every thread of the engine by a filter of its own, and lets it gain no privilege",
	Why:        "The filter refuses to open a file for writing, to make a socket or a process: even to code that runs inside the engine. What the engine inherits from its service's own filter refuses much less.",
	Mend:       restartTheSandbox,
	References: askForIsolation,
	Needs:      needEngineAsRoot,
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		return ownFilter(process{"engine", a.PID}, process{"gateway", t.Cache.PID}, n)
	},
}

// ownFilter looks for a filter on each thread beyond those that were inherited.
func ownFilter(p, parent process, n *Notes) Finding {
	inherited, err := parent.mostFilters()
	if err != nil {
		return n.Skip("the filters that the %s has inherited can't be counted: %v", p.name, err)
	}
	n.Saw("%s, process %d: at most %d filters on a thread", parent.name, parent.pid, inherited)
	threads, err := p.threads()
	if err != nil {
		return n.Skip("its threads can't be looked at: %v", err)
	}
	for _, s := range threads {
		who := fmt.Sprintf("thread %s (%s)", s["Pid"], s["Name"])
		n.Saw("%s: Seccomp %s, filters %s, NoNewPrivs %s", who, s["Seccomp"], s["Seccomp_filters"], s["NoNewPrivs"])
		if s["Seccomp"] != modeFilter || s["NoNewPrivs"] != "1" {
			return n.Fail("%s has Seccomp %s, NoNewPrivs %s", who, s["Seccomp"], s["NoNewPrivs"])
		}
		switch own, err := filters(s); {
		case err != nil && inherited > 0:
			return n.Skip("whether the filter is its own: %v", err)
		case err == nil && own <= inherited:
			return n.Fail("%s has %d filters, and the %s that started it %d: none is its own", who, own, parent.name, inherited)
		}
	}
	return n.Pass("a filter of its own on each of its threads: %d", len(threads))
}

// ownNamespaces looks whether it shares one of these with the process that started it.
func ownNamespaces(p, parent process, n *Notes, names ...string) Finding {
	for _, name := range names {
		its, err := os.Readlink(p.path("ns", name))
		if err != nil {
			return n.Skip("its namespaces can't be looked at: %v", err)
		}
		theirs, err := os.Readlink(parent.path("ns", name))
		if err != nil {
			return n.Skip("the %s's namespaces can't be looked at: %v", parent.name, err)
		}
		n.Saw("%s: the %s's %s, the %s's %s", name, p.name, its, parent.name, theirs)
		if its == theirs {
			return n.Fail("it shares the %s's %s namespace", parent.name, name)
		}
	}
	return n.Pass("each is its own")
}

var engineIsApart = Check{
	ID: "RD-413", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "The engine has network, IPC and host name spaces to itself",
	Why:        "In a network namespace of its own there is nothing to connect to and nobody to listen to, on any kernel.",
	Mend:       restartTheSandbox,
	References: append([]string{"NIST SP 800-53r5 SC-7"}, askForIsolation...),
	Needs:      needEngineAsRoot,
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		return ownNamespaces(process{"engine", a.PID}, process{"gateway", t.Cache.PID}, n, namespacesOfItsOwn...)
	},
}

var engineLeavesNoDump = Check{
	ID: "RD-414", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "The kernel makes no core dump of the engine",
	Why:        "A dump is all of the cache's memory in one file.",
	Mend:       restartTheSandbox,
	References: append([]string{"NIST SP 800-53r5 SC-4"}, askForIsolation...),
	Needs:      needEngineAsRoot,
	Run: onEngine(func(p process, a engine.Audit, n *Notes) Finding {
		if f := noDump(p, n); f.outcome != evidence.Pass {
			return f
		}
		filter, err := p.read("coredump_filter")
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("coredump_filter %s", strings.TrimSpace(filter))
		if strings.Trim(strings.TrimSpace(filter), "0") != "" {
			return n.Fail("coredump_filter is %s: a dump would hold pages of memory", strings.TrimSpace(filter))
		}
		return n.Pass("limit 1 byte, which also stops a piped dump (core(5)); no page would be in one")
	}),
}

// noDump looks at the limit of a process: 1 stops a piped dump too, 0 doesn't.
func noDump(p process, n *Notes) Finding {
	soft, hard, err := p.limit("Max core file size")
	if err != nil {
		return n.Skip("%v", err)
	}
	n.Saw("%s, process %d: limit of core files %s, %s", p.name, p.pid, soft, hard)
	if soft != "1" || hard != "1" {
		return n.Fail("the limit of core files of the %s is %s, %s, and not 1", p.name, soft, hard)
	}
	return n.Pass("")
}

var engineWritesNoFile = Check{
	ID: "RD-415", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "By its limits the engine can write not one byte to a file, and survives the attempt",
	Why:        "It holds where a kernel has no Landlock, and whatever the engine's configuration says.",
	Mend:       restartTheSandbox,
	References: askForIsolation,
	Needs:      needEngineAsRoot,
	Run: onEngine(func(p process, a engine.Audit, n *Notes) Finding {
		for _, name := range []string{"Max file size", "Max msgqueue size"} {
			soft, hard, err := p.limit(name)
			if err != nil {
				return n.Skip("%v", err)
			}
			n.Saw("%s: %s, %s", name, soft, hard)
			if soft != "0" || hard != "0" {
				return n.Fail("%s is %s, %s, and not 0", name, soft, hard)
			}
		}
		s, err := p.status()
		if err != nil {
			return n.Skip("%v", err)
		}
		const sigxfsz = 25
		ignored, err := strconv.ParseUint(s["SigIgn"], 16, 64)
		n.Saw("SigIgn %s", s["SigIgn"])
		if err != nil || ignored&(1<<(sigxfsz-1)) == 0 {
			return n.Fail("SIGXFSZ is not ignored: an attempt to write would end the engine")
		}
		return n.Pass("limit 0, and SIGXFSZ is ignored")
	}),
}

var engineHoldsNoFile = Check{
	ID: "RD-416", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "The engine has no file open for writing, nor mapped so that it writes to one",
	Why:        "What was opened before the sandbox stood could be written to after.",
	Mend:       restartTheSandbox,
	References: askForIsolation,
	Needs:      needEngineAsRoot,
	Run: onEngine(func(p process, a engine.Audit, n *Notes) Finding {
		list, err := p.descriptors()
		if err != nil {
			return n.Skip("its open files can't be looked at: %v", err)
		}
		for _, d := range list {
			n.Saw("%s -> %s", d.number, d.to)
			isFile := strings.HasPrefix(d.to, "/")
			if isFile && d.writable() && d.to != "/dev/null" {
				return n.Fail("descriptor %s is %s, open for writing", d.number, d.to)
			}
			if strings.HasPrefix(d.to, "/memfd:") || isFile && strings.HasSuffix(d.to, " (deleted)") {
				return n.Fail("descriptor %s is a file without a name: %s", d.number, d.to)
			}
		}
		shared, err := p.sharedWritable()
		if err != nil {
			return n.Skip("its memory map can't be looked at: %v", err)
		}
		if len(shared) > 0 {
			return n.Fail("its memory is mapped to %s, so that what it writes there is in that file", shared[0].file)
		}
		n.Saw("mappings of its memory that write to a file: none")
		return n.Pass("none of its %d descriptors, and no mapping", len(list))
	}),
}

var runDirHoldsTheSocket = Check{
	ID: "RD-417", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "The engine's directory is its own and holds its socket alone",
	Why:        "It is the one place where the engine can make anything at all.",
	Mend:       "Look what lies there and who put it there, and remove it; the gateway makes the directory anew at its start.",
	References: append([]string{"45 CFR 164.310(d)(1)"}, askForIsolation...),
	Needs:      needEngineAsRoot,
	Run: onEngine(func(p process, a engine.Audit, n *Notes) Finding {
		info, err := os.Stat(a.RunDir)
		if err != nil {
			return n.Skip("%v", err)
		}
		kind, err := filesystemOf(a.RunDir)
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("%s: %s, uid %d, gid %d, on %s", a.RunDir, info.Mode(), ownerOf(info), groupOf(info), kind)
		entries, err := os.ReadDir(a.RunDir)
		if err != nil {
			return n.Skip("%v", err)
		}
		for _, e := range entries {
			n.Saw("%s %s", e.Type(), e.Name())
			if e.Type() != os.ModeSocket || len(entries) > 1 {
				return n.Fail("%s holds more than a socket: %d entries", a.RunDir, len(entries))
			}
		}
		_, group, err := p.ids()
		if err != nil {
			return n.Skip("%v", err)
		}
		listed, err := host.AccessList(a.RunDir)
		if err != nil {
			return n.Skip("%v", err)
		}
		if listed {
			return n.Fail("%s has an access list for single users", a.RunDir)
		}
		others := info.Mode().Perm()&0o007 != 0 || info.Mode().Perm()&0o070 != 0 && groupOf(info) != group
		if others || a.UID >= 0 && ownerOf(info) != a.UID {
			return n.Fail("%s is %s and belongs to uid %d, gid %d", a.RunDir, info.Mode(), ownerOf(info), groupOf(info))
		}
		return n.Pass("a socket, for the engine's user and group alone, on %s", kind)
	}),
}

var sandboxRefuses = Check{
	ID: "RD-418", Goal: evidence.AtRest, From: OnCache,
	Title:      "In the engine's sandbox, on this kernel, everything that a taken engine would try is refused, and the engine that runs shows the marks of that sandbox",
	Why:        "What the kernel reports of a sandbox says that it is there; what is attempted in it says that it holds. The attempts are made by a program of their own, so as not to stop the engine: its marks say that the engine is where they were made. Of Landlock the kernel shows no mark.",
	Mend:       restartTheSandbox,
	References: append([]string{"NIST SP 800-53r5 CA-8"}, askForIsolation...),
	Needs:      []Need{needRoot, needEngine},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		kernel := sandbox.Probe()
		n.Fact("kernel", kernel.String())
		uid := a.UID
		if uid >= 0 { // not the engine's own, which is nobody else's (RD-412)
			if uid, err = sandbox.FreeUID(); err != nil {
				return n.Skip("%v", err)
			}
		}
		trial, err := sandbox.Try(ctx, uid, uid, kernel.Namespaces)
		if err != nil {
			return n.Skip("nothing could be attempted: %v", err)
		}
		if f := refusals(trial.Attempts, kernel, n); f.outcome != evidence.Pass {
			return f
		}
		if f := sameMarks(process{"engine", a.PID}, process{"gateway", t.Cache.PID}, trial.Status, n); f.outcome != evidence.Pass {
			return f
		}
		return n.Pass("attempts that succeed outside are refused, each (%s), and the engine bears the marks of the sandbox", kernel)
	},
}

// refusals counts what was refused in the sandbox and is possible outside.
func refusals(list []sandbox.Attempt, kernel sandbox.Report, n *Notes) Finding {
	refused := 0
	for _, attempt := range list {
		switch {
		case !attempt.Refused:
			n.Saw("%s: %s", attempt.Name, attempt.Outcome)
			return n.Fail("%s: a program in the sandbox is not seen to be refused", attempt.Name)
		case attempt.Possible:
			n.Saw("%s: %s, and possible outside", attempt.Name, attempt.Outcome)
			refused++
		default:
			n.Saw("%s: %s, but outside as well, so that it isn't counted", attempt.Name, attempt.Outcome)
		}
	}
	for _, missing := range kernel.Missing() {
		n.Saw("without: %s", missing)
	}
	if refused == 0 {
		return n.Fail("nothing is possible outside the sandbox either: the attempts show nothing")
	}
	n.Saw("refused, and possible outside: %d", refused)
	return n.Pass("")
}

// sameMarks compares what the kernel shows of a process with what it showed of the
// program that tried. Each has inherited filters from who started it.
func sameMarks(p, parent process, tried map[string]string, n *Notes) Finding {
	s, err := p.status()
	if err != nil {
		return n.Skip("%v", err)
	}
	for _, field := range append([]string{"NoNewPrivs", "Seccomp", "Groups"}, capabilityFields...) {
		n.Saw("%s: the %s's %q, the program's %q", field, p.name, s[field], tried[field])
		if s[field] != tried[field] {
			return n.Fail("the %s that runs is in another sandbox: its %s is %q, and that of the program that was refused %q", p.name, field, s[field], tried[field])
		}
	}
	var added [2]int
	for i, of := range []struct {
		status map[string]string
		parent process
	}{{s, parent}, {tried, process{"verification", os.Getpid()}}} {
		most, err := of.parent.mostFilters()
		if err != nil {
			return n.Skip("whether the %s has the sandbox's filter: %v", p.name, err)
		}
		own, err := filters(of.status)
		if err != nil && most > 0 {
			return n.Skip("whether the %s has the sandbox's filter: %v", p.name, err)
		}
		added[i] = own - most
	}
	n.Saw("filters beyond those that were inherited: the %s's %d, the program's %d", p.name, added[0], added[1])
	if added[0] < added[1] {
		return n.Fail("the %s that runs lacks the filter by which the program was refused", p.name)
	}
	return n.Pass("")
}
