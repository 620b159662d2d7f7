package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/host"
)

// A process is one that runs here, as /proc tells of it (proc(5)).
type process struct {
	name string // what it is to us
	pid  int
}

// ours are the processes of this deployment that run here.
func (t *Target) ours(ctx context.Context) (list []process) {
	if a, err := t.audit(ctx); err == nil && a.PID > 0 {
		list = append(list, process{"engine", a.PID})
	}
	return slices.Concat(list, t.roles(), t.front())
}

// front is the process that faces the network on a cache host; the roles are those that
// own files and sockets.
func (t *Target) front() []process {
	if t.Cache == nil || t.Cache.Front <= 0 {
		return nil
	}
	return []process{{"front", t.Cache.Front}}
}

// roles are gateway and sidecar; in redoubt up they are one process.
func (t *Target) roles() (list []process) {
	if t.Cache != nil && t.Cache.PID > 0 {
		list = append(list, process{"gateway", t.Cache.PID})
	}
	if t.App != nil && t.App.PID > 0 && (t.Cache == nil || t.App.PID != t.Cache.PID) {
		list = append(list, process{"sidecar", t.App.PID})
	}
	return list
}

// needProcesses: something of the deployment runs here.
func needProcesses(ctx context.Context, t *Target) string {
	if len(t.ours(ctx)) == 0 {
		return "needs a running gateway or sidecar (redoubt status)"
	}
	return ""
}

// needRoles: gateway or sidecar run here, where their processes can be looked at.
func needRoles(_ context.Context, t *Target) string {
	if len(t.roles()) == 0 {
		return "needs a gateway or sidecar that runs, in this PID namespace (redoubt status)"
	}
	return ""
}

func (p process) path(name ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(p.pid)}, name...)...)
}

func (p process) read(name ...string) (string, error) {
	text, err := os.ReadFile(p.path(name...))
	return string(text), err
}

// status reads fields of /proc/PID/status.
func (p process) status() (map[string]string, error) {
	text, err := p.read("status")
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

// threads are the status of each thread of the process.
func (p process) threads() (list []map[string]string, err error) {
	tasks, err := os.ReadDir(p.path("task"))
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return nil, err
		}
		if s, err := (process{"thread", id}).status(); err == nil { // else it has ended
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has ended", p.name)
	}
	return list, nil
}

// modeFilter is SECCOMP_MODE_FILTER, as status has it.
const modeFilter = "2"

// filters is how many filters of system calls a thread has (proc(5), Linux 5.9).
func filters(status map[string]string) (int, error) {
	if status["Seccomp"] != modeFilter {
		return 0, nil
	}
	n, err := strconv.Atoi(status["Seccomp_filters"])
	if err != nil {
		return 0, errors.New("this kernel doesn't say how many filters a thread has (Linux 5.9 does)")
	}
	return n, nil
}

// mostFilters is that of the process's thread that has most: what it starts inherits
// no more.
func (p process) mostFilters() (most int, err error) {
	threads, err := p.threads()
	if err != nil {
		return 0, err
	}
	for _, s := range threads {
		n, err := filters(s)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// processes are all that run in this process namespace and below.
func processes() (list []process, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, process{"process", pid})
		}
	}
	return list, nil
}

// ids are the effective user and group.
func (p process) ids() (uid, gid int, err error) {
	fields, err := p.status()
	if err != nil {
		return 0, 0, err
	}
	users, groups := strings.Fields(fields["Uid"]), strings.Fields(fields["Gid"]) // real, effective, …
	if len(users) < 2 || len(groups) < 2 {
		return 0, 0, fmt.Errorf("%s has no Uid or Gid", p.path("status"))
	}
	uid, err = strconv.Atoi(users[1])
	gid, err2 := strconv.Atoi(groups[1])
	return uid, gid, errors.Join(err, err2)
}

// dumpable says whether other processes of the same user may attach to it: else its
// files in /proc belong to root (proc(5), PR_SET_DUMPABLE in prctl(2)). Of a process
// of root's that can't be told.
func (p process) dumpable() (uid int, dumpable bool, err error) {
	uid, _, err = p.ids()
	if err != nil {
		return 0, false, err
	}
	info, err := os.Stat(p.path("environ"))
	if err != nil {
		return 0, false, err
	}
	return uid, ownerOf(info) == uid, nil
}

// limit is a row of /proc/PID/limits: soft and hard, as the kernel writes them.
func (p process) limit(name string) (soft, hard string, err error) {
	text, err := p.read("limits")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if fields := strings.Fields(rest); len(fields) >= 2 {
				return fields[0], fields[1], nil
			}
		}
	}
	return "", "", fmt.Errorf("%s has no %q", p.path("limits"), name)
}

// A descriptor is an open file of a process.
type descriptor struct {
	number string
	to     string // what /proc/PID/fd/N leads to
	flags  int    // open(2), of /proc/PID/fdinfo/N
}

func (p process) descriptors() (list []descriptor, err error) {
	entries, err := os.ReadDir(p.path("fd"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		d := descriptor{number: e.Name()}
		if d.to, err = os.Readlink(p.path("fd", e.Name())); errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		} else if err != nil {
			return nil, err
		}
		info, err := p.read("fdinfo", e.Name())
		if err != nil {
			continue
		}
		for line := range strings.Lines(info) {
			if octal, ok := strings.CutPrefix(line, "flags:"); ok {
				flags, _ := strconv.ParseInt(strings.TrimSpace(octal), 8, 64) // the kernel's own number
				d.flags = int(flags)
			}
		}
		list = append(list, d)
	}
	return list, nil
}

// writable says whether it was opened for writing.
func (d descriptor) writable() bool { return d.flags&(os.O_WRONLY|os.O_RDWR) != 0 }

// A mapping is memory of a process that is written back to a file.
type mapping struct {
	at   string // its addresses, as /proc/PID/map_files names it
	file string
}

// sharedWritable are the process's mappings of files to which its memory is written
// back: shared and writable (proc(5), maps).
func (p process) sharedWritable() (list []mapping, err error) {
	text, err := p.read("maps")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line) // range, mode, offset, device, inode, path
		if len(fields) >= 6 && strings.Contains(fields[1], "w") && strings.HasSuffix(fields[1], "s") && fields[5] != "/dev/zero" {
			list = append(list, mapping{fields[0], strings.Join(fields[5:], " ")})
		}
	}
	return list, nil
}

// inMemory says whether what is mapped is shared memory under a name, and no file.
func (m mapping) inMemory() bool {
	return !strings.HasPrefix(m.file, "/") || strings.HasPrefix(m.file, "/memfd:") || strings.HasPrefix(m.file, "/SYSV")
}

// A listener is a socket that takes connections, or datagrams, from the network.
type listener struct {
	protocol string
	address  netip.AddrPort
}

// sockets are the inodes of the sockets that the process has open.
func (p process) sockets() (map[string]bool, error) {
	descriptors, err := p.descriptors()
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, d := range descriptors {
		if inode, ok := strings.CutPrefix(d.to, "socket:["); ok {
			open[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return open, nil
}

// notUnix are those of the process's sockets that are no unix sockets, neither of its
// own network namespace nor of the other's, who connects to it; all is how many it
// has. Everything else leads out, whatever its family: /proc/net has tables of some
// families only, and in them only of sockets that are bound.
func (p process) notUnix(other process) (list []string, all int, err error) {
	open, err := p.sockets()
	if err != nil {
		return nil, 0, err
	}
	all = len(open)
	for _, of := range []process{p, other} {
		if err := takeOutUnix(open, func() (string, error) { return of.read("net", "unix") }); err != nil {
			return nil, 0, err
		}
	}
	still, err := p.sockets() // a connection may have ended meanwhile
	if err != nil {
		return nil, 0, err
	}
	for inode := range open {
		if still[inode] {
			list = append(list, inode)
		}
	}
	return list, all, nil
}

// unixReadings is how often the table of unix sockets is read before a socket counts as
// none: while others come and go, a reading leaves out one or another that is there
// (Linux 6.18, beside two processes that open and close 900 at a time: 10 of 56,100).
const unixReadings = 4

// takeOutUnix takes out of open, by inode, what a reading of /proc/PID/net/unix has.
func takeOutUnix(open map[string]bool, read func() (string, error)) error {
	for range unixReadings {
		if len(open) == 0 {
			return nil
		}
		table, err := read()
		if err != nil {
			return err
		}
		for line := range strings.Lines(table) {
			if fields := strings.Fields(line); len(fields) >= 7 {
				delete(open, fields[6])
			}
		}
	}
	return nil
}

// listeners are the process's sockets that take connections or datagrams from a
// network, by the tables of its network namespace.
func (p process) listeners() (listening []listener, err error) {
	own, err := p.sockets()
	if err != nil {
		return nil, err
	}
	all, err := host.Sockets(p.path("net"), "tcp", "tcp6", "udp", "udp6", "raw", "raw6")
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if own[s.Inode] && (s.State == host.Listening || s.State == host.Unconnected) {
			listening = append(listening, listener{s.Protocol, s.Local})
		}
	}
	return listening, nil
}
