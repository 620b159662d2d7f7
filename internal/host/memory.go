package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Swap is a device or file that memory may be written to.
type Swap struct {
	Path      string
	Encrypted bool // by dm-crypt, as the kernel names it
}

// Swaps are those in use (proc(5), /proc/swaps).
func Swaps() (list []Swap, err error) {
	text, known, err := kernelFile("/proc/swaps")
	if err != nil || !known { // a kernel without swap
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) == 0 {
			continue // the heading
		}
		list = append(list, Swap{fields[0], encrypted(fields[0])})
	}
	return list, nil
}

// encrypted says whether a block device is dm-crypt's, or made of such alone; of a file,
// whether it lies on such a one, whatever the file is called.
func encrypted(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	info, err := os.Stat(real)
	if err != nil {
		return false
	}
	if info.Mode().IsRegular() {
		disk, err := DiskOf(real)
		return err == nil && disk.Encrypted
	}
	return encryptedBlock(filepath.Join("/sys/class/block", filepath.Base(real)), 0)
}

// A Disk is what a path lies on.
type Disk struct {
	Device    string // 259:2, or "memory"
	Name      string // nvme0n1p2; "": the kernel tells of no device
	Encrypted bool   // by dm-crypt, or memory
}

// deepest is how many devices stand on each other at most: a volume on a RAID on
// partitions is three.
const deepest = 8

// encryptedBlock looks at a device and, if it is made of others, at all of them: a
// volume (LVM) on an encrypted disk is encrypted.
func encryptedBlock(at string, depth int) bool {
	uuid, err := os.ReadFile(filepath.Join(at, "dm/uuid"))
	if err == nil && strings.HasPrefix(string(uuid), "CRYPT-") {
		return true
	}
	under, err := os.ReadDir(filepath.Join(at, "slaves"))
	if err != nil || len(under) == 0 || depth == deepest {
		return false
	}
	for _, device := range under {
		if !encryptedBlock(filepath.Join(at, "slaves", device.Name()), depth+1) {
			return false
		}
	}
	return true
}

// SwapDenied says whether the control group of a process keeps it out of swap
// (cgroup v2 memory.swap.max 0), and where that stands.
func SwapDenied(pid int) (denied bool, where string) {
	groups, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return false, err.Error()
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			// A group is bound by those above it too.
			for at := path; ; at = filepath.Dir(at) {
				file := filepath.Join("/sys/fs/cgroup", at, "memory.swap.max")
				if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == "0" {
					return true, file
				}
				if at == "/" || at == "." {
					return false, "no memory.swap.max of 0 from " + path + " up"
				}
			}
		}
	}
	return false, "no control group of version 2"
}

// Setting reads a file of one value below /proc/sys or /sys; known is false where
// this kernel doesn't have it. Spaces are part of the value: a core_pattern may be one.
func Setting(path string) (value string, known bool, err error) {
	text, known, err := kernelFile(path)
	return strings.TrimSuffix(string(text), "\n"), known, err
}

// Hibernates says whether this host can write all of its memory to a disk, and why.
func Hibernates() (can bool, why string, err error) {
	states, known, err := Setting("/sys/power/state")
	if err != nil {
		return false, "", err
	}
	if !known || !strings.Contains(" "+states+" ", " disk ") {
		return false, fmt.Sprintf("/sys/power/state is %q", states), nil
	}
	disk, known, err := Setting("/sys/power/disk")
	if err != nil {
		return false, "", err
	}
	if !known || strings.Contains(disk, "[disabled]") {
		return false, fmt.Sprintf("/sys/power/disk is %q", disk), nil
	}
	for _, unit := range Hibernating {
		if !Masked(unit) {
			return true, fmt.Sprintf("/sys/power/state is %q, /sys/power/disk %q, %s is not masked", states, disk, unit), nil
		}
	}
	return false, strings.Join(Hibernating, ", ") + " are masked", nil
}

// Hibernating are the ways in which systemd writes memory to a disk
// (systemd-hibernate.service(8)).
var Hibernating = []string{"hibernate.target", "hybrid-sleep.target", "suspend-then-hibernate.target"}

// Masked says whether systemd refuses to start a unit (systemd.unit(5)): a link to
// /dev/null, or an empty file, stands where its own would.
func Masked(unit string) bool {
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system"} {
		info, err := os.Lstat(filepath.Join(dir, unit))
		if err != nil {
			continue
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, _ := os.Readlink(filepath.Join(dir, unit))
			return to == os.DevNull
		}
		return info.Mode().IsRegular() && info.Size() == 0
	}
	return false
}

// KeepsDumps says where the kernel puts core dumps (core(5)); "": it throws them away,
// since nothing is the pattern, or false(1) and no other program gets them.
func KeepsDumps(pattern, usesPID string) (where string) {
	if program, piped := strings.CutPrefix(pattern, "|"); piped {
		words := strings.Fields(program)
		if len(words) > 0 && (words[0] == "/bin/false" || words[0] == "/usr/bin/false") {
			return ""
		}
		return "handed to a program that may keep them: " + strings.Join(words[:min(1, len(words))], "")
	}
	if pattern == "" && usesPID == "0" {
		return ""
	}
	return fmt.Sprintf("written to files named %q", pattern)
}
