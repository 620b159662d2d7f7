package host

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// A unit of systemd has each property with its values, as systemctl show prints them.
type unit map[string][]string

func (u unit) has(property, value string) bool { return slices.Equal(u[property], []string{value}) }

func (u unit) id() string { return strings.Join(u["Id"], "") }

// inUse says whether it is active, or will be at the next start.
func (u unit) inUse() bool {
	state := strings.Join(u["UnitFileState"], "")
	return u.has("ActiveState", "active") || state == "enabled" || state == "enabled-runtime"
}

// listens are the addresses where a socket does: "[::]:2222 (Stream)". A path, or vsock,
// is no network's.
func (u unit) listens() (list []netip.AddrPort) {
	for _, value := range u["Listen"] {
		address, _, _ := strings.Cut(value, " ")
		if at, err := netip.ParseAddrPort(address); err == nil {
			list = append(list, at)
		}
	}
	return list
}

// sshdArgs are sshd's arguments in a unit's ExecStart, with what its environment adds
// (systemd.service(5), "Command lines").
func (u unit) sshdArgs() []string {
	environment := map[string]string{}
	set := func(assignment string) {
		if name, value, ok := strings.Cut(assignment, "="); ok {
			environment[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	for _, value := range u["Environment"] {
		for _, assignment := range sshWords(value) {
			set(assignment)
		}
	}
	for _, value := range u["EnvironmentFiles"] {
		path, _, _ := strings.Cut(value, " (")
		text, _ := regular.Read(path, sshFileSize)
		for line := range strings.Lines(string(text)) {
			set(line)
		}
	}
	for _, value := range u["ExecStart"] {
		_, command, _ := strings.Cut(value, "argv[]=")
		command, _, _ = strings.Cut(command, " ; ")
		words := sshWords(os.Expand(command, func(name string) string { return environment[name] }))
		if len(words) > 0 && filepath.Base(words[0]) == "sshd" {
			args, _ := deciding(words[1:])
			return args
		}
	}
	return nil
}

// sshUnitNames are what distributions call the units that start sshd: at once, when
// somebody comes, or one for each who comes. A pattern finds what is loaded, a name also
// what isn't.
var sshUnitNames = []string{"ssh.service", "sshd.service", "ssh.socket", "sshd.socket", "ssh@redoubt.service", "sshd@redoubt.service", "*ssh*.socket"}

// sshUnits asks systemd for them; there are none where it didn't boot this host.
func sshUnits(ctx context.Context) ([]unit, error) {
	if _, err := os.Lstat("/run/systemd/system"); err != nil { // sd_booted(3)
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, sshdWithin)
	defer cancel()
	argv := append([]string{"show", "--property=Id,LoadState,ActiveState,UnitFileState,Listen,Accept,ExecStart,Environment,EnvironmentFiles"}, sshUnitNames...)
	out, err := exec.CommandContext(ctx, "systemctl", argv...).Output()
	if err != nil {
		return nil, fmt.Errorf("systemctl show ssh.socket: %w", err)
	}
	return parseUnits(string(out)), nil
}

// parseUnits reads what systemctl show prints: a paragraph for each unit.
func parseUnits(shown string) (units []unit) {
	for paragraph := range strings.SplitSeq(shown, "\n\n") {
		u := unit{}
		for line := range strings.Lines(paragraph) {
			property, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			u[property] = append(u[property], value)
		}
		units = append(units, u)
	}
	return units
}

// socketsOf are the sockets for ssh that are open, or will be at the next start.
func socketsOf(units []unit) (list []SSHListener) {
	for _, u := range units {
		for _, at := range u.listens() {
			if l := (SSHListener{at, u.id()}); u.inUse() && !slices.Contains(list, l) {
				list = append(list, l)
			}
		}
	}
	return list
}

// serversOf are the sshds that systemd starts at boot, or for whoever comes.
func serversOf(units []unit) (list []sshServer) {
	loaded := func(id string) unit {
		i := slices.IndexFunc(units, func(u unit) bool { return u.id() == id && u.has("LoadState", "loaded") })
		if i < 0 {
			return nil
		}
		return units[i]
	}
	for _, name := range []string{"ssh", "sshd"} {
		socket, service, each := loaded(name+".socket"), loaded(name+".service"), loaded(name+"@redoubt.service")
		var ports []string
		for _, at := range socket.listens() {
			ports = append(ports, strconv.Itoa(int(at.Port())))
		}
		waits := socket.inUse()
		forEach := waits && socket.has("Accept", "yes")
		if forEach && each != nil {
			list = append(list, sshServer{args: each.sshdArgs(), by: name + "@.service", ports: ports})
		}
		if service != nil && (service.inUse() || waits && !forEach) {
			list = append(list, sshServer{args: service.sshdArgs(), by: name + ".service", ports: ports})
		}
	}
	return list
}
