package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// sshdWithin bounds one answer of sshd's, and systemd's.
const sshdWithin = 10 * time.Second

var (
	// ErrNoSSHD says that this host has no ssh server.
	ErrNoSSHD = errors.New("no sshd is installed")
	// ErrSSHDNotStarted says that it has one that can't be asked yet: its unit makes
	// the directory that it wants.
	ErrSSHDNotStarted = errors.New("sshd was not started since the host was, and can't be asked before (mkdir /run/sshd has it answer)")
)

// A sshServer is an sshd as it runs here, or as systemd would start it: what stands on
// its command line counts before its files (sshd(8)).
type sshServer struct {
	program string
	args    []string // those that decide what it is set to: -c, -f, -h, -o, -p
	by      string   // process 412, ssh.service
	ports   []string // that systemd listens on for it
}

// sshdsHere are all of this host; one without arguments where none runs and none would
// be started.
func sshdsHere(ctx context.Context) (list []sshServer, err error) {
	program, err := findSSHD()
	running := runningSSHDs(program)
	if err != nil && len(running) == 0 {
		return nil, err
	}
	list = running
	for _, started := range startedSSHDs(ctx) {
		same := func(s sshServer) bool { return slices.Equal(s.args, started.args) }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i].ports = append(list[i].ports, started.ports...)
			continue
		}
		started.program = program
		list = append(list, started)
	}
	if len(list) == 0 {
		list = []sshServer{{program: program, by: "sshd, were it started"}}
	}
	return list, nil
}

func findSSHD() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", ErrNoSSHD
}

// runningSSHDs are root's processes of this name that wait for connections. Those of a
// container have a PID namespace of their own, and are another host's.
func runningSSHDs(installed string) (list []sshServer) {
	ours, _ := os.Readlink("/proc/self/ns/pid")
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range names {
		dir := filepath.Dir(path)
		if name, _, _ := Setting(path); name != "sshd" || !ofRoot(dir) {
			continue
		}
		if theirs, err := os.Readlink(filepath.Join(dir, "ns/pid")); err != nil || theirs != ours {
			continue
		}
		text, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		words, listens := sshTitle(string(text))
		args, serves := deciding(words)
		if !listens || !serves {
			continue
		}
		s := sshServer{program: installed, args: args, by: "process " + filepath.Base(dir)}
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && filepath.Base(exe) == "sshd" {
			s.program = exe
		}
		if s.program != "" && !slices.ContainsFunc(list, func(o sshServer) bool { return slices.Equal(o.args, s.args) }) {
			list = append(list, s)
		}
	}
	return list
}

func ofRoot(dir string) bool {
	text, _ := os.ReadFile(filepath.Join(dir, "status"))
	for line := range strings.Lines(string(text)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			return strings.Join(strings.Fields(ids), " ") == "0 0 0 0"
		}
	}
	return false
}

// sshTitle reads what an sshd shows as its command line: once it listens, its arguments
// in one text, with blanks between them (main of sshd.c, prepare_proctitle). Sessions
// show whose they are.
func sshTitle(cmdline string) (words []string, listens bool) {
	title, retitled := strings.CutPrefix(cmdline, "sshd: ")
	if !retitled {
		words = strings.Split(strings.TrimRight(cmdline, "\x00"), "\x00")
		return words[1:], filepath.Base(words[0]) == "sshd"
	}
	args, _, listens := strings.Cut(title, " [listener]")
	if words = strings.Fields(args); len(words) == 0 {
		return nil, false
	}
	return words[1:], listens
}

// Options of sshd (sshd(8)): those with a value, and those that take none.
const (
	sshdValued = "CEbcfghkopu"
	sshdFlags  = "46DGQRTVdeiqrt"
	sshdDecide = "cfhop"
	sshdTells  = "GQTVt" // and ends
)

// deciding are those of an sshd's arguments that decide what it is set to. A value may
// have been taken apart at its blanks. serves is false for one that only tells
// something.
func deciding(words []string) (args []string, serves bool) {
	serves = true
	for i := 0; i < len(words); i++ {
		for option := words[i]; len(option) > 1 && isSSHDOption(option); {
			letter, value := option[1:2], option[2:]
			if strings.Contains(sshdFlags, letter) {
				option, serves = "-"+value, serves && !strings.Contains(sshdTells, letter)
				continue
			}
			if value == "" && i+1 < len(words) {
				i++
				value = words[i]
			}
			for i+1 < len(words) && !isSSHDOption(words[i+1]) {
				i++
				value += " " + words[i]
			}
			if strings.Contains(sshdDecide, letter) {
				args = append(args, "-"+letter, value)
			}
			break
		}
	}
	return args, serves
}

func isSSHDOption(word string) bool {
	return len(word) > 1 && word[0] == '-' && strings.Contains(sshdValued+sshdFlags, word[1:2])
}

// sshUnits are what distributions call the units that start sshd: at once, when
// somebody comes, or one for each who comes.
var sshUnits = []string{"ssh.service", "sshd.service", "ssh.socket", "sshd.socket", "ssh@redoubt.service", "sshd@redoubt.service"}

// startedSSHDs are those that systemd starts at boot, or for whoever comes.
func startedSSHDs(ctx context.Context) (list []sshServer) {
	ctx, cancel := context.WithTimeout(ctx, sshdWithin)
	defer cancel()
	argv := append([]string{"show", "--property=Id,LoadState,ActiveState,UnitFileState,Listen,Accept,ExecStart,Environment,EnvironmentFiles"}, sshUnits...)
	out, err := exec.CommandContext(ctx, "systemctl", argv...).Output()
	if err != nil {
		return nil // no systemd, or not as process 1
	}
	return sshOfUnits(string(out))
}

// sshOfUnits reads what systemctl shows of sshUnits.
func sshOfUnits(shown string) (list []sshServer) {
	units := map[string]map[string][]string{}
	for block := range strings.SplitSeq(shown, "\n\n") {
		unit := map[string][]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			unit[key] = append(unit[key], value)
		}
		if id := unit["Id"]; len(id) == 1 && slices.Equal(unit["LoadState"], []string{"loaded"}) {
			units[id[0]] = unit
		}
	}
	for _, name := range []string{"ssh", "sshd"} {
		socket, service, each := units[name+".socket"], units[name+".service"], units[name+"@redoubt.service"]
		waits, ports := inUse(socket), listenPorts(socket["Listen"])
		forEach := waits && slices.Equal(socket["Accept"], []string{"yes"})
		if forEach && each != nil {
			list = append(list, sshServer{args: unitArgs(each), by: name + "@.service", ports: ports})
		}
		if service != nil && (inUse(service) || waits && !forEach) {
			list = append(list, sshServer{args: unitArgs(service), by: name + ".service", ports: ports})
		}
	}
	return list
}

func inUse(unit map[string][]string) bool {
	return slices.Equal(unit["ActiveState"], []string{"active"}) || slices.Equal(unit["UnitFileState"], []string{"enabled"})
}

// listenPorts reads "[::]:2222 (Stream)".
func listenPorts(listens []string) (ports []string) {
	for _, listen := range listens {
		address, _, _ := strings.Cut(listen, " ")
		if at := strings.LastIndex(address, ":"); at >= 0 {
			ports = append(ports, address[at+1:])
		}
	}
	return ports
}

// unitArgs are sshd's arguments in a unit's ExecStart, with what its environment adds
// (systemd.service(5), "Command lines").
func unitArgs(unit map[string][]string) []string {
	environment := map[string]string{}
	set := func(assignment string) {
		if name, value, ok := strings.Cut(assignment, "="); ok {
			environment[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	for _, value := range unit["Environment"] {
		for _, assignment := range sshWords(value) {
			set(assignment)
		}
	}
	for _, value := range unit["EnvironmentFiles"] {
		path, _, _ := strings.Cut(value, " (")
		text, _ := regular.Read(path, sshFileSize)
		for line := range strings.Lines(string(text)) {
			set(line)
		}
	}
	for _, value := range unit["ExecStart"] {
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

// ask has sshd say what it would do for a connection, by its own reading of its files,
// drop-ins and Match blocks (sshd(8), -T and -C): each keyword in lower case with its
// values.
func (s sshServer) ask(ctx context.Context, c sshConnection) (map[string]string, error) {
	return s.start(ctx, c)()
}

// start begins to ask; what it returns waits for the answer.
func (s sshServer) start(ctx context.Context, c sshConnection) (wait func() (map[string]string, error)) {
	ctx, cancel := context.WithTimeout(ctx, sshdWithin)
	var out, complaint strings.Builder
	cmd := exec.CommandContext(ctx, s.program, slices.Concat(s.args, []string{"-T", "-C", c.spec()})...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Start()
	return func() (map[string]string, error) {
		defer cancel()
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil && strings.Contains(complaint.String(), "Missing privilege separation directory") {
			return nil, ErrSSHDNotStarted
		}
		if err != nil {
			return nil, fmt.Errorf("sshd -T: %w: %s", err, strings.TrimSpace(complaint.String()))
		}
		settings := map[string]string{}
		for line := range strings.Lines(out.String()) {
			keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if before := settings[keyword]; before != "" {
				value = before + " " + value
			}
			settings[keyword] = value
		}
		return settings, nil
	}
}
