package verify

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var nothingIsSwapped = Check{
	ID: "RD-402", Goal: evidence.AtRest, From: OnBoth, Cheap: true,
	Title:      "No memory of engine, gateway or sidecar is in swap",
	Why:        "What is swapped lies on a disk, and stays there when the process is long gone.",
	Mend:       "Turn swap off (swapoff -a, and out of /etc/fstab) or deny it to the services (MemorySwapMax=0 in their units); overwrite the device, since what was swapped is still on it.",
	References: askForMemory,
	Needs:      []Need{needProcesses},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, p := range t.ours(ctx) {
			s, err := p.status()
			if err != nil {
				return n.Skip("%v", err)
			}
			swapped := s["VmSwap"]
			if swapped == "" {
				return n.Skip("this kernel doesn't say what is swapped")
			}
			n.Saw("%s, process %d: VmSwap %s, locked %s of %s", p.name, p.pid, swapped, s["VmLck"], s["VmSize"])
			if !strings.HasPrefix(swapped, "0 ") {
				return n.Fail("%s of the %s are in swap", swapped, p.name)
			}
		}
		return n.Pass("VmSwap is 0")
	},
}

var rolesLeaveNoDump = Check{
	ID: "RD-403", Goal: evidence.AtRest, From: OnBoth, Cheap: true,
	Title:      "The kernel makes no core dump of gateway and sidecar, lets nobody read their memory, and nobody traces them or the engine",
	Why:        "Values, passwords and the host's key pass through their memory. Who traces a process (strace, a debugger) reads all that it reads.",
	Mend:       "Restart the process with this redoubt, which sets the limit itself. End the tracer that is named, and look where it wrote what it saw.",
	References: []string{"45 CFR 164.312(a)(2)(iv)", "NIST SP 800-53r5 SC-28", "NIST SP 800-53r5 SC-4"},
	Needs:      []Need{needProcesses},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, p := range t.ours(ctx) {
			if f := notTraced(p, n); f.outcome != evidence.Pass {
				return f
			}
		}
		for _, p := range slices.Concat(t.roles(), t.front()) {
			if f := noDump(p, n); f.outcome != evidence.Pass {
				return f
			}
			uid, dumpable, err := p.dumpable()
			switch {
			case err != nil:
				return n.Skip("%v", err)
			case uid == 0:
				n.Saw("%s, process %d: root's, so that nobody else can attach to it", p.name, p.pid)
			case dumpable:
				return n.Fail("the kernel lets other processes of uid %d attach to the %s and read its memory", uid, p.name)
			default:
				n.Saw("%s, process %d: of uid %d, whose other processes can't attach to it", p.name, p.pid, uid)
			}
		}
		return n.Pass("limit 1 byte, which also stops a piped dump (core(5)), and no process of theirs is dumpable")
	},
}

// notTraced looks at each of the process's threads: one may be traced alone (ptrace(2)).
func notTraced(p process, n *Notes) Finding {
	threads, err := p.threads()
	if err != nil {
		return n.Skip("%v", err)
	}
	for _, s := range threads {
		switch tracer := s["TracerPid"]; tracer {
		case "0":
		case "":
			return n.Skip("this kernel doesn't say who traces a thread")
		default:
			by, _ := os.ReadFile(filepath.Join("/proc", tracer, "comm"))
			return n.Fail("process %s (%s) traces the %s (thread %s)", tracer, strings.TrimSpace(string(by)), p.name, s["Pid"])
		}
	}
	n.Saw("%s, process %d: nobody traces any of its %d threads", p.name, p.pid, len(threads))
	return n.Pass("")
}

var nothingSecretIsShown = Check{
	ID: "RD-404", Goal: evidence.AtRest, From: OnBoth, Cheap: true,
	Title:      "No argument and no environment variable of our processes holds a secret",
	Why:        "Every user of the host reads arguments (ps); environments end up in crash reports and in the files of service managers.",
	Mend:       "Name the secret's file instead: --env app.env, engine.password_digests. Replace the secret, since others may have seen it (redoubt secret rotate).",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 SC-4"},
	Needs:      []Need{needRoot, needProcesses},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, p := range t.ours(ctx) {
			for _, file := range []string{"cmdline", "environ"} {
				text, err := p.read(file)
				if err != nil {
					return n.Skip("%v", err)
				}
				words := strings.Split(strings.TrimRight(text, "\x00"), "\x00")
				n.Saw("%s, process %d, %s: %d words", p.name, p.pid, file, len(words))
				if name, found := secretIn(words, file == "cmdline"); found {
					return n.Fail("%s of the %s holds a secret: %.40q", file, p.name, name)
				}
				if t.App != nil && t.App.Password != "" && strings.Contains(text, t.App.Password) {
					return n.Fail("%s of the %s holds the application's password", file, p.name)
				}
			}
		}
		return n.Pass("none")
	},
}
