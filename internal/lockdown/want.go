package lockdown

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// A Part is a subject that can be left out.
type Part string

const (
	Firewall    Part = "firewall"
	SSH         Part = "ssh"
	Kernel      Part = "kernel"
	CoreDumps   Part = "coredumps"
	Hibernation Part = "hibernation"
	Swap        Part = "swap"
)

// Parts are all of them, in the order in which they are applied. The two that can lock
// people out come last.
var Parts = []Part{Kernel, CoreDumps, Hibernation, Swap, SSH, Firewall}

// locksOut says whether a mistake in the part can keep people out of the host.
func (p Part) locksOut() bool { return p == SSH || p == Firewall }

// Want is what a host is to be.
type Want struct {
	Rules    firewall.Rules
	Program  string // this redoubt, which the host's unit starts
	Without  []Part
	Forwards []string // what ssh forwards nevertheless, by host.Forwards
}

// A file is to lie on the host.
type file struct {
	part Part
	path string
	text string
	link string // instead of a text: where a symbolic link leads
	mode fs.FileMode
}

// FilterPath is where the packet filter lies that each start of the host loads.
const FilterPath = "/etc/redoubt/nftables.conf"

// closedPath is what is loaded where that can't be.
const closedPath = "/etc/redoubt/nftables-closed.conf"

const unitPath = "/etc/systemd/system/redoubt-host.service"

// unit loads the packet filter before there is a network, and after nftables.service,
// which empties the ruleset. DefaultDependencies would put it after sysinit.target, of
// which it is a part.
const unit = `# Made by redoubt host apply.
[Unit]
Description=Redoubt: the host's packet filter
DefaultDependencies=no
RequiresMountsFor=/etc /var/lib
After=local-fs.target nftables.service
Before=network-pre.target sysinit.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%s host boot

[Install]
WantedBy=sysinit.target
`

const (
	keeperUnit = "redoubt-filter.service"
	keeperPath = "/etc/systemd/system/" + keeperUnit
)

// keeperText is the service that loads the filter again when something took it away,
// and says how it stands. It goes on where the filter could not be loaded at first.
const keeperText = `# Made by redoubt host apply.
[Unit]
Description=Redoubt: keeps the host's packet filter in force
DefaultDependencies=no
RequiresMountsFor=/etc /var/lib
ConditionPathExists=/etc/redoubt/nftables.conf
After=redoubt-host.service
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=%s host keep
Restart=always
RestartSec=100ms
RuntimeDirectory=redoubt-host
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/var/lib/redoubt-host
ProtectHome=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_NETLINK AF_UNIX
RestrictNamespaces=yes
MemoryDenyWriteExecute=yes
UMask=0022

[Install]
WantedBy=sysinit.target
`

// gatewayDropIn keeps a host from serving whose filter could not be loaded.
const gatewayDropIn = `# Made by redoubt host apply: without its packet filter this host doesn't serve.
[Unit]
Requires=redoubt-host.service
After=redoubt-host.service
`

const coredumpDropIn = `# Made by redoubt host apply: should core dumps be handed to systemd-coredump after all, it keeps none.
[Coredump]
Storage=none
ProcessSizeMax=0
`

const limitsDropIn = `# Made by redoubt host apply: no core dumps of what people start.
*    hard core 0
root hard core 0
`

const hugePagesDropIn = `# Made by redoubt host apply: huge pages for those that ask for them.
w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise
`

const hugePages = "/sys/kernel/mm/transparent_hugepage/enabled"

// files are all that are to lie there. Those of programs that this host doesn't have
// are left out.
func (w Want) files() (list []file) {
	add := func(part Part, path, text string, mode fs.FileMode) {
		list = append(list, file{part: part, path: path, text: text, mode: mode})
	}
	mask := func(part Part, units ...string) {
		for _, u := range units {
			list = append(list, file{part: part, path: "/etc/systemd/system/" + u, link: os.DevNull})
		}
	}
	add(Kernel, "/etc/sysctl.d/60-redoubt.conf", sysctl(), 0o644)
	if w.Rules.Cache != 0 {
		add(Kernel, "/etc/tmpfiles.d/60-redoubt.conf", hugePagesDropIn, 0o644)
	}
	add(CoreDumps, "/etc/systemd/coredump.conf.d/60-redoubt.conf", coredumpDropIn, 0o644)
	add(CoreDumps, "/etc/security/limits.d/60-redoubt.conf", limitsDropIn, 0o644)
	for _, name := range []string{"apport", "kdump", "kdump-tools"} {
		if installed(name + ".service") {
			mask(CoreDumps, name+".service") // each sets the kernel to keep dumps when it starts
		}
	}
	mask(Hibernation, host.Hibernating...)
	mask(Swap, "swap.target")
	if _, err := os.Stat("/etc/ssh/sshd_config"); err == nil {
		add(SSH, host.SSHDropInPath, host.SSHDropIn(w.Forwards...), 0o644)
	}
	add(Firewall, FilterPath, w.Rules.Nftables(), 0o640)
	add(Firewall, unitPath, fmt.Sprintf(unit, w.Program), 0o644)
	add(Firewall, closedPath, w.Rules.Closed(), 0o640)
	add(Firewall, keeperPath, fmt.Sprintf(keeperText, w.Program), 0o644)
	for _, path := range []string{unitPath, keeperPath} {
		list = append(list, file{part: Firewall, path: "/etc/systemd/system/sysinit.target.wants/" + filepath.Base(path), link: path})
	}
	if w.Rules.Cache != 0 {
		add(Firewall, "/etc/systemd/system/redoubt-gateway.service.d/60-redoubt-host.conf", gatewayDropIn, 0o644)
	}
	return slices.DeleteFunc(list, func(f file) bool { return slices.Contains(w.Without, f.part) })
}

func installed(unit string) bool {
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system", "/etc/init.d"} {
		for _, name := range []string{unit, strings.TrimSuffix(unit, ".service")} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return true
			}
		}
	}
	return false
}

const ptraceScope = "/proc/sys/kernel/yama/ptrace_scope"

// sysctl is the drop-in, which never takes back what is stricter already.
func sysctl() string {
	have, _, _ := host.Setting(ptraceScope)
	if n, err := strconv.Atoi(have); err == nil && n > 1 {
		return strings.Replace(host.SysctlDropIn, "ptrace_scope = 1", "ptrace_scope = "+have, 1)
	}
	return host.SysctlDropIn
}

// A setting is a value of the kernel's that is to hold now, and not only from the next
// start on.
type setting struct {
	part Part
	path string
	want string
}

// settings are those of the drop-ins.
func (w Want) settings() (list []setting) {
	if slices.Contains(w.Without, Kernel) {
		return nil
	}
	for line := range strings.Lines(sysctl()) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if ok && !strings.HasPrefix(key, "#") {
			list = append(list, setting{Kernel, "/proc/sys/" + strings.ReplaceAll(key, ".", "/"), value})
		}
	}
	pages := setting{Kernel, hugePages, "madvise"}
	if have, _, _ := pages.read(); w.Rules.Cache != 0 && have == "always" {
		list = append(list, pages)
	}
	return list
}

// read is the setting as the kernel has it; known is false where it doesn't.
func (s setting) read() (value string, known bool, err error) {
	value, known, err = host.Setting(s.path)
	if s.path == hugePages { // always [madvise] never
		_, value, _ = strings.Cut(value, "[")
		value, _, _ = strings.Cut(value, "]")
	}
	return value, known, err
}
