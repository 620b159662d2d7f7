package lab

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Machine is a Host that is a whole Debian system: systemd is its process 1, with
// units, journal, sshd and disk of its own, in a container (systemd-nspawn). What it
// writes to its disk is gone after the test, and there after a Restart.
//
// The kernel is the test machine's, so /proc/sys is read-only but for the network, and
// memory limits of units are taken and not enforced.
type Machine struct {
	*Host
	t    testing.TB
	name string
	root string
	log  string

	container *exec.Cmd
	ended     chan struct{}
	pid       string // of its process 1
}

// machinePackages are what a server of a clinic has besides what we bring.
const machinePackages = "systemd,systemd-sysv,dbus,iproute2,nftables,redis-server,openssh-server,openssh-client,procps,mount,netcat-openbsd,unattended-upgrades"

// SecurityUpdates is where a Machine's apt has its source of security updates, which
// nothing is fetched from.
const SecurityUpdates = "/etc/apt/sources.list.d/security.list"

// DebianRoot is the disk of a whole Debian system, whose changes are gone after the
// test; extra are packages that it has besides.
func DebianRoot(t testing.TB, extra ...string) string {
	t.Helper()
	codename := osRelease(t, "VERSION_CODENAME")
	packages := strings.Join(append([]string{machinePackages}, extra...), ",")
	lower := keptRoot(t, fmt.Sprintf("machine_%s_%08x", codename, crc32.ChecksumIEEE([]byte(packages))), func(fresh string) {
		runMmdebstrap(t, "--variant=minbase", "--include="+packages, codename, fresh, fmt.Sprintf("deb %s %s main", debianMirror(t), codename))
	})
	root := filepath.Join(t.TempDir(), "root")
	upper, work := root+".upper", root+".work"
	for _, dir := range []string{root, upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, exec.Command("mount", "-t", "overlay", "overlay", "-o", fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work), root))
	// Lazily: a verification that runs beside may be reading what was just written in it.
	t.Cleanup(func() { must(t, exec.Command("umount", "--lazy", root)) })
	return root
}

// Machine boots a machine with this name and address. Its redoubt is this tree's.
func (n *Network) Machine(name, cidr string) *Machine {
	n.t.Helper()
	m := n.Unbooted(name, cidr)
	must(n.t, exec.Command("cp", Redoubt(n.t), filepath.Join(m.root, "usr/bin/redoubt")))
	m.Boot()
	return m
}

// Unbooted is a machine whose disk can still be written to before it Boots. extra are
// packages that it has besides; it has no redoubt. It has what a host of Debian's has, if
// not one that was made from the archive alone: a source of security updates.
func (n *Network) Unbooted(name, cidr string, extra ...string) *Machine {
	n.t.Helper()
	m := &Machine{Host: n.Host(name, cidr), t: n.t, name: name, root: DebianRoot(n.t, extra...)}
	m.log = m.root + ".log"
	for path, text := range map[string]string{
		"/etc/hostname": name + "\n",
		SecurityUpdates: "deb http://security.invalid/debian-security " + osRelease(n.t, "VERSION_CODENAME") + "-security main\n",
	} {
		if err := os.WriteFile(m.Path(path), []byte(text), 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
	n.t.Cleanup(m.PowerOff)
	return m
}

func must(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}

// bootWithin is what a boot may take on a busy machine; alone it is some 5 s.
const bootWithin = 4 * time.Minute

// Boot starts it, and returns when all of its units have started.
func (m *Machine) Boot() {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	must(m.t, m.Host.Command("nft", "flush", "ruleset")) // a kernel starts without any
	m.container = exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--machine="+m.name, "--hostname="+m.name,
		"--directory="+m.root, "--network-namespace-path=/run/netns/"+m.ns, "--resolv-conf=off", "--timezone=off",
		"--capability=CAP_NET_ADMIN", // its network is its own
		"--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self", "--boot")
	m.container.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	m.container.Stdout, m.container.Stderr = log, log
	if err := m.container.Start(); err != nil {
		m.t.Fatalf("lab: %v (Debian's systemd-container is needed)", err)
	}
	m.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan struct{}) {
		c.Wait()
		close(ended)
	}(m.container, m.ended)
	ctx, cancel := context.WithTimeout(context.Background(), bootWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	m.pid = ""
	for {
		// systemd-nspawn has a helper at first, which makes the machine's process 1 and ends.
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.container.Process.Pid))
		if pids := strings.Fields(string(children)); len(pids) > 0 {
			m.pid = pids[len(pids)-1]
			// Its exit code says "degraded" too, which a test may have wanted.
			out, _ := m.commandWithin(ctx, "systemctl", "is-system-running", "--wait").Output()
			if state := strings.TrimSpace(string(out)); state == "running" || state == "degraded" {
				return
			}
		}
		select {
		case <-m.ended:
			m.t.Fatalf("lab: the machine ended\n%s", m.Console())
		case <-ctx.Done():
			m.t.Fatalf("lab: the machine did not start within %s\n%s", bootWithin, m.Console())
		case <-tick.C:
		}
	}
}

// Command runs on the machine, as root.
func (m *Machine) Command(args ...string) *exec.Cmd {
	return m.commandWithin(m.t.Context(), args...)
}

func (m *Machine) commandWithin(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", m.pid, "-a", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"}
	return cmd
}

// Path is where a file of the machine lies for the test.
func (m *Machine) Path(path string) string { return filepath.Join(m.root, path) }

// Console is what it printed as it started and ended.
func (m *Machine) Console() string {
	text, _ := os.ReadFile(m.log)
	return string(text)
}

// PowerOff ends it as its operator would, or at once if that takes too long.
func (m *Machine) PowerOff() {
	if m.container == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), bootWithin)
	defer cancel()
	m.commandWithin(ctx, "systemctl", "poweroff").Run()
	select {
	case <-m.ended:
	case <-ctx.Done():
		m.Crash()
	}
	m.container = nil
}

// Crash ends it as a power cut would.
func (m *Machine) Crash() {
	must(m.t, exec.Command("kill", "-KILL", m.pid)) // its kernel's: all other processes end with it
	<-m.ended
	m.container = nil
}
