package host

import (
	"os"
	"path/filepath"
	"strings"
)

// Kind is what a host stands on. It decides what can be seen from inside.
type Kind string

const (
	Metal     Kind = "a machine of its own"
	Virtual   Kind = "a virtual machine"
	Container Kind = "a container"
)

// Machine says what this host stands on, and by what that was told.
func Machine() (kind Kind, by string) {
	// Who makes containers leaves one of these (systemd's Container Interface, Docker,
	// Podman).
	for _, mark := range []string{"/run/systemd/container", "/run/host/container-manager", "/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return Container, mark
		}
	}
	if environ, err := os.ReadFile("/proc/1/environ"); err == nil { // root's to read
		for variable := range strings.SplitSeq(string(environ), "\x00") {
			if strings.HasPrefix(variable, "container=") {
				return Container, "/proc/1/environ: " + variable
			}
		}
	}
	if kind, known, err := Setting("/sys/hypervisor/type"); known && err == nil {
		return Virtual, "/sys/hypervisor/type: " + kind
	}
	// x86 has a bit for it (CPUID leaf 1, ECX 31); elsewhere the firmware's maker tells.
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err == nil && strings.Contains(string(cpu), " hypervisor") {
		return Virtual, "/proc/cpuinfo: hypervisor"
	}
	for _, name := range []string{"sys_vendor", "product_name"} {
		maker, _, _ := Setting(filepath.Join("/sys/class/dmi/id", name))
		for _, virtual := range []string{"QEMU", "KVM", "VMware", "Amazon EC2", "Google", "Xen", "innotek", "Parallels"} {
			if strings.Contains(maker, virtual) && !strings.Contains(maker, "metal") {
				return Virtual, name + ": " + maker
			}
		}
	}
	return Metal, "no sign of a hypervisor or a container"
}
