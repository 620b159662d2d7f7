package verify

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var askForMemory = []string{"45 CFR 164.312(a)(2)(iv)", "NIST SP 800-53r5 SC-28", "NIST SP 800-53r5 SC-4"}

// reading is a check's Run that judges a file of one value below /proc/sys or /sys;
// known is false where this kernel doesn't have it.
func reading(path string, judge func(value string, known bool, n *Notes) Finding) func(context.Context, *Target, *Notes) Finding {
	return func(_ context.Context, _ *Target, n *Notes) Finding {
		value, known, err := host.Setting(path)
		if err != nil {
			return n.Skip("%v", err)
		}
		if known {
			n.Saw("%s: %s", path, value)
		} else {
			n.Saw("this kernel has no %s", path)
		}
		return judge(value, known, n)
	}
}

var swapIsClosed = Check{
	ID: "RD-441", Goal: evidence.AtRest, From: OnBoth, OfHost: true,
	Title:      "Our processes' memory can't be swapped to a disk that could be read",
	Why:        "The kernel writes what it likes of a process to swap when memory is short, and leaves it there.",
	Mend:       "Turn swap off (swapoff -a, and out of /etc/fstab), encrypt it (crypttab with a random key), or deny it to the services: MemorySwapMax=0 in their units.",
	References: askForMemory,
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		swaps, err := host.Swaps()
		if err != nil {
			return n.Skip("%v", err)
		}
		open := 0
		for _, s := range swaps {
			n.Saw("swap on %s, encrypted: %v", s.Path, s.Encrypted)
			if !s.Encrypted {
				open++
			}
		}
		if open == 0 {
			n.Saw("/proc/swaps: %d in use, none that isn't encrypted", len(swaps))
			return n.Pass("there is no swap that isn't encrypted")
		}
		processes := t.ours(ctx)
		for _, p := range processes {
			denied, where := host.SwapDenied(p.pid)
			n.Saw("%s, process %d: %s", p.name, p.pid, where)
			if !denied {
				return n.Fail("there is swap that isn't encrypted, and the %s may use it", p.name)
			}
		}
		if len(processes) == 0 {
			return n.Fail("there is swap that isn't encrypted, and no running process of ours that it is denied to")
		}
		return n.Pass("there is swap, and it is denied to our processes")
	},
}

var dumpsGoNowhere = Check{
	ID: "RD-442", Goal: evidence.AtRest, From: OnBoth, OfHost: true,
	Title:      "The host keeps no core dumps",
	Why:        "Our processes make none; the application, which holds the same values, would. On the cache host it is the second lock on one door.",
	Mend:       "kernel.core_pattern = |/bin/false (redoubt render sysctl prints it) in a file of /etc/sysctl.d, then sysctl --system; with systemd-coredump, Storage=none and ProcessSizeMax=0 in /etc/systemd/coredump.conf do as well, and an exception says so here.",
	References: askForMemory,
	Run: reading("/proc/sys/kernel/core_pattern", func(pattern string, known bool, n *Notes) Finding {
		if !known {
			return n.Pass("this kernel makes no core dumps")
		}
		usesPID, _, err := host.Setting("/proc/sys/kernel/core_uses_pid")
		if err != nil {
			return n.Skip("%v", err)
		}
		if where := host.KeepsDumps(pattern, usesPID); where != "" {
			return n.Fail("core dumps are %s", where)
		}
		return n.Pass("core_pattern throws them away")
	}),
}

var hostDoesNotHibernate = Check{
	ID: "RD-443", Goal: evidence.AtRest, From: OnBoth, OfHost: true,
	Title:      "The host can't hibernate",
	Why:        "Hibernation writes all memory to a disk.",
	Mend:       "systemctl mask hibernate.target hybrid-sleep.target suspend-then-hibernate.target. A hypervisor that suspends or snapshots the machine does the same from outside: see to it in its policy.",
	References: askForMemory,
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		can, why, err := host.Hibernates()
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("%s", why)
		if can {
			return n.Fail("it can: %s", why)
		}
		return n.Pass("%s", why)
	},
}

var noCrashKernel = Check{
	ID: "RD-444", Goal: evidence.AtRest, From: OnBoth, OfHost: true,
	Title:      "No crash kernel waits to save the host's memory",
	Why:        "kdump writes memory to a disk when the kernel crashes.",
	Mend:       "Take crashkernel= out of the kernel's command line and disable kdump (systemctl disable --now kdump kdump-tools).",
	References: askForMemory,
	Run: reading("/sys/kernel/kexec_crash_loaded", func(loaded string, known bool, n *Notes) Finding {
		if known && loaded != "0" {
			return n.Fail("a crash kernel is loaded")
		}
		return n.Pass("none is loaded")
	}),
}

var nobodyIsTraced = Check{
	ID: "RD-445", Goal: evidence.AtRest, From: OnBoth, OfHost: true,
	Title:      "A process can't look into another one of the same user",
	Why:        "Whoever takes one program of a user reads the memory of the user's others: on an application host the application's, with its password and the values in it.",
	Mend:       "kernel.yama.ptrace_scope = 1 or higher (redoubt render sysctl prints it) in a file of /etc/sysctl.d, then sysctl --system; a kernel without Yama needs another one.",
	References: append([]string{"NIST SP 800-53r5 SC-39"}, askForMemory...),
	Run: reading("/proc/sys/kernel/yama/ptrace_scope", func(scope string, known bool, n *Notes) Finding {
		if !known {
			return n.Fail("this kernel has no Yama, and lets every process of a user trace the others")
		}
		if scope == "0" {
			return n.Fail("ptrace_scope is 0")
		}
		return n.Pass("ptrace_scope is %s", scope)
	}),
}

var noHugePages = Check{
	ID: "RD-446", Goal: evidence.AtRest, From: OnCache, Cheap: true, OfHost: true,
	Title:      "Huge pages don't make the engine's memory grow past its bounds",
	Why:        "With transparent huge pages everywhere, memory grows past what maxmemory counts: the engine is ended by the kernel, or pushed to swap.",
	Mend:       "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, and transparent_hugepage=madvise on the kernel's command line.",
	References: []string{"NIST SP 800-53r5 SC-5", "NIST SP 800-53r5 SI-16"},
	Run: reading("/sys/kernel/mm/transparent_hugepage/enabled", func(enabled string, _ bool, n *Notes) Finding {
		if strings.Contains(enabled, "[always]") {
			return n.Fail("they are used everywhere")
		}
		return n.Pass("they are not used everywhere")
	}),
}

var disksAreEncrypted = Check{
	ID: "RD-447", Goal: evidence.AtRest, From: OnBoth, OfHost: true,
	Title:      "What lies on the host's disks is encrypted",
	Why:        "No cached value reaches a disk, but keys, passwords and logs do; and an encrypted disk is the last lock should the others fail.",
	Mend:       "Install the host on LUKS (cryptsetup). Where a hypervisor or a disk encrypts below what the host sees (EBS, a self-encrypting disk), an exception says so.",
	References: askForMemory,
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		kind, by := host.Machine()
		n.Saw("this is %s (%s)", kind, by)
		paths := []string{"/", "/etc", "/var", "/tmp"}
		for _, h := range t.hosts() {
			paths = append(paths, named(h.files.Certificate, h.files.Key)...)
		}
		disks := map[string]host.Disk{}
		for _, path := range paths {
			disk, err := host.DiskOf(path)
			if err != nil {
				return n.Skip("%v", err)
			}
			disks[path] = disk
		}
		return judgeDisks(kind, disks, n)
	},
}

// judgeDisks: what a hypervisor encrypts, or the machine around a container, can't be
// seen from inside, so that only a machine of its own fails.
func judgeDisks(kind host.Kind, disks map[string]host.Disk, n *Notes) Finding {
	open, unseen := "", ""
	for _, path := range slices.Sorted(maps.Keys(disks)) {
		disk := disks[path]
		n.Saw("%s lies on %s (%s), encrypted: %v", path, disk.Name, disk.Device, disk.Encrypted)
		switch {
		case disk.Name == "":
			unseen = path
		case !disk.Encrypted:
			open = path
		}
	}
	switch {
	case open == "" && unseen == "":
		return n.Pass("by dm-crypt, as far as it isn't memory")
	case kind != host.Metal:
		return n.Skip("this is %s: whether something encrypts below it can't be seen from here", kind)
	case open != "":
		return n.Fail("%s lies on %s, which isn't encrypted", open, disks[open].Name)
	}
	return n.Skip("what device %s lies on, its file system doesn't tell", unseen)
}
