//go:build amd64 || arm64

package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const shimName = "redoubt-sandbox" // argv[0] of a shim

// Command returns a command that becomes the program of s, confined. The
// caller sets Stdin, Stdout and Stderr (pipes), and starts it from a locked OS
// thread: the program is killed when that thread ends, or the process with it.
//
// The command has a session of its own, so that a Ctrl-C at the terminal
// reaches the supervisor and not the engine behind its back. ExtraFiles holds
// the pipe with the order: the caller may close it after Start, else the
// garbage collector does.
func Command(s Spec) (*exec.Cmd, error) {
	return command(order{Spec: s, Layers: allLayers()})
}

// Command returns a command that becomes the part, confined, with these files at
// FirstFile and after. The rest is as with Command for a program.
func (p Part) Command(files ...*os.File) (*exec.Cmd, error) {
	if err := p.validate(files); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if able && !slices.Contains(known, p.Name) {
		return nil, fmt.Errorf("sandbox: this program has no part %q", p.Name)
	}
	cmd, err := command(p.order(len(files)))
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, files...)
	return cmd, nil
}

func (p Part) order(files int) order {
	return order{Spec: p.spec(), Layers: allLayers(), Part: &p, Files: files, Processors: runtime.GOMAXPROCS(0), Debug: os.Getenv("GODEBUG")}
}

func command(o order) (*exec.Cmd, error) {
	if !able {
		return nil, errors.New("sandbox: this program can't start confined ones: its main doesn't begin with sandbox.Main")
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	o.Parent = os.Getpid()
	pipe, err := handOver(o)
	if err != nil {
		return nil, fmt.Errorf("sandbox: hand over the order: %w", err)
	}
	return &exec.Cmd{
		Path:        "/proc/self/exe", // the very file that runs, even if an upgrade replaced it
		Args:        []string{shimName},
		Env:         []string{"GOTRACEBACK=none"},
		ExtraFiles:  []*os.File{pipe},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}, nil
}

// handOver returns the reading end of a pipe that holds the whole order.
func handOver(o order) (*os.File, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if len(text) > maxOrder {
		return nil, errOrderTooLong
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// takeOver reads the order in the shim.
func takeOver(f *os.File) (order, error) {
	var o order
	text, err := io.ReadAll(io.LimitReader(f, maxOrder))
	if err != nil {
		return o, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, err
	}
	if o.Files < 0 || o.Files > maxFiles {
		return o, fmt.Errorf("%d files", o.Files)
	}
	return o, o.validate()
}

// able says that this binary, started again, becomes what Command asks for; known are the
// parts that it has. Where Main isn't called, it would start itself without end.
var (
	able  bool
	known []string
)

// Main must be the first call of main, and of every TestMain whose tests start
// confined programs. It returns at once, unless this process was started by
// Command: then it does not return. roles are those that this binary has as parts.
func Main(roles ...Role) {
	able = true
	for _, r := range roles {
		known = append(known, r.Name)
	}
	if len(os.Args) > 0 && os.Args[0] == attemptName {
		beAttempt()
	}
	if len(os.Args) != 1 {
		return
	}
	for _, r := range roles {
		if os.Args[0] == processName(r.Name) {
			os.Exit(r.run())
		}
	}
	if os.Args[0] != shimName {
		return
	}
	// Landlock, seccomp, identity and namespaces are properties of a thread, and
	// the thread that calls exec is the one whose properties remain.
	runtime.LockOSThread()
	err := becomeProgram()
	_, _ = fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
	// Not os.Exit: its exit hooks (coverage, race detector) make system calls
	// that the filter, if it stands already, refuses.
	unix.Exit(ExitFailed)
}

// run is a part's life, after the exec that its filter allowed.
func (r Role) run() int {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // exec undid the shim's
		_, _ = fmt.Fprintf(os.Stderr, "sandbox: not dumpable: %v\n", err)
		return ExitFailed
	}
	// By its owner's limit (LimitMEMLOCK= of the unit): where that is too low, swap is kept
	// away by settings alone (RD-402, RD-441).
	_ = lockMemory()
	return r.Run()
}

func becomeProgram() error {
	pipe := os.NewFile(orderFD, "order")
	o, err := takeOver(pipe)
	if err != nil {
		return fmt.Errorf("order on descriptor %d: %w (only redoubt itself starts %s)", orderFD, err, shimName)
	}
	if err := pipe.Close(); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	s := shim{order: o}
	for _, step := range s.steps() {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return errors.New("exec returned") // unreachable: the last step is the exec
}
