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
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	shimName = "redoubt-sandbox" // argv[0] of a shim
	orderFD  = 3                 // the first of exec.Cmd.ExtraFiles
)

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

func command(o order) (*exec.Cmd, error) {
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
	return o, o.validate()
}

// Main must be the first call of main, and of every TestMain whose tests start
// confined programs. It returns at once, unless this process was started by
// Command: then it does not return.
func Main() {
	if len(os.Args) > 0 && os.Args[0] == attemptName {
		beAttempt()
	}
	if len(os.Args) != 1 || os.Args[0] != shimName {
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
