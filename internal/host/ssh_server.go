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
	units, _ := sshUnits(ctx) // where systemd isn't, or tells nothing, what runs is asked
	for _, started := range serversOf(units) {
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
