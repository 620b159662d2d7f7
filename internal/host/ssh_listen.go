package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An SSHListener is an address where ssh is served.
type SSHListener struct {
	Address netip.AddrPort
	By      string // what says so, as a person knows it: "ssh.socket"
}

func (l SSHListener) String() string { return fmt.Sprintf("%s (%s)", l.Address, l.By) }

// SSHElsewhere are those of all listeners whose port is another one. What listens on the
// loopback alone is none.
func SSHElsewhere(ctx context.Context, port int) (elsewhere, all []SSHListener, err error) {
	if all, err = sshListeners(ctx); err != nil {
		return nil, nil, err
	}
	for _, l := range all {
		if int(l.Address.Port()) != port && !l.Address.Addr().IsLoopback() {
			elsewhere = append(elsewhere, l)
		}
	}
	return elsewhere, all, nil
}

// sshListeners asks all that decide where ssh is served: systemd's sockets, sshd's
// configuration, which doesn't count where there are such, and what listens now, which
// may have been started otherwise.
func sshListeners(ctx context.Context) (list []SSHListener, err error) {
	units, err := sshUnits(ctx)
	if err != nil {
		return nil, err
	}
	if list = socketsOf(units); len(list) == 0 {
		servers, err := sshdsHere(ctx)
		if err != nil && !errors.Is(err, ErrNoSSHD) {
			return nil, err
		}
		for _, server := range servers {
			settings, err := server.ask(ctx, anybody)
			if err != nil && !errors.Is(err, ErrSSHDNotStarted) {
				return nil, err
			}
			for _, address := range strings.Fields(settings["listenaddress"]) {
				if at, err := netip.ParseAddrPort(address); err == nil {
					list = append(list, SSHListener{at, "sshd -T"})
				}
			}
		}
	}
	live, err := sshProcesses()
	return append(list, live...), err
}

// sshServers are programs that serve ssh, by the name that the kernel has of them.
var sshServers = []string{"sshd", "dropbear", "tinysshd"}

// sshProcesses are those that listen in this network namespace now.
func sshProcesses() (list []SSHListener, err error) {
	listening, err := listeningSockets()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	for _, path := range names {
		comm, _ := os.ReadFile(path) // it may have ended
		name := strings.TrimSpace(string(comm))
		if !slices.Contains(sshServers, name) {
			continue
		}
		fds, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "fd", "*"))
		for _, fd := range fds {
			to, _ := os.Readlink(fd)
			if at, ok := listening[to]; ok {
				list = append(list, SSHListener{at, name + ", process " + filepath.Base(filepath.Dir(path))})
			}
		}
	}
	return list, nil
}

// listeningSockets are the TCP sockets that listen in this network namespace, by what a
// descriptor's link says of them, "socket:[INODE]" (proc_pid_net(5)).
func listeningSockets() (map[string]netip.AddrPort, error) {
	list := map[string]netip.AddrPort{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if errors.Is(err, os.ErrNotExist) {
			continue // this kernel has no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			const listens = "0A"
			if len(fields) < 10 || fields[3] != listens {
				continue
			}
			at, err := ParseAddress(fields[1])
			if err != nil {
				return nil, err
			}
			list["socket:["+fields[9]+"]"] = at
		}
	}
	return list, nil
}
