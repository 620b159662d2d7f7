package engine

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopPatience is how long an engine may take to end after SIGTERM. It writes
// nothing and waits for nobody (shutdown-timeout 0), so it takes milliseconds;
// large memory takes longer to give back.
const stopPatience = 10 * time.Second

// A process is one life of the engine.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed when it has been waited for and its output read to the end
	end  error         // how it ended; read it after done
}

// startProcess starts cmd, the engine behind the sandbox's shim, with its
// configuration on stdin. Two goroutines live as long as it does; done closes
// after both.
func startProcess(cmd *exec.Cmd, configuration string, tap func(io.Reader) io.Reader, log *slog.Logger) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("engine: pipe for its output: %w", err)
	}
	p := &process{cmd: cmd, out: &output{log: log}, done: make(chan struct{})}
	cmd.Stdin = strings.NewReader(configuration)
	cmd.Stdout, cmd.Stderr = w, w

	drained := make(chan struct{})
	go func() {
		defer close(drained)
		p.out.read(tap(r))
	}()
	started := make(chan error)
	go p.live(started, w, r, drained)
	if err := <-started; err != nil {
		<-p.done
		return nil, unable("start: %w", err)
	}
	return p, nil
}

// live starts the process and stays until it has ended. The thread is held all
// the while: the kernel sends the parent-death signal when the thread that
// started the child ends, not the process (prctl(2), PR_SET_PDEATHSIG), and the
// runtime ends idle threads' work at will.
func (p *process) live(started chan<- error, w, r *os.File, drained <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	defer r.Close()

	killed := killsForMemory()
	err := p.cmd.Start()
	w.Close()
	for _, f := range p.cmd.ExtraFiles {
		f.Close() // the sandbox's: the child has its own by now
	}
	started <- err
	if err == nil {
		p.end = howItEnded(p.cmd.Wait(), func() bool { return killsForMemory() > killed })
		// It can't fork, so its end of the pipe is gone with it; should the
		// sandbox be off and a child live on, this does not wait for it.
		r.SetReadDeadline(time.Now().Add(lastLook))
	}
	<-drained
}

// howItEnded says in words how the engine ended; err is Wait's, and forMemory whether
// the kernel has ended a process since the start.
func howItEnded(err error, forMemory func() bool) error {
	var exit *exec.ExitError
	if err == nil {
		return errors.New("the engine ended by itself")
	}
	if !errors.As(err, &exit) {
		return fmt.Errorf("the engine: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		if status.Signal() == syscall.SIGKILL && forMemory() {
			return errors.New("the kernel ended the engine, since there was no memory left: lower engine.memory, or give the machine (or MemoryMax= of the unit) more")
		}
		return fmt.Errorf("the engine died of %s", unix.SignalName(status.Signal()))
	}
	return fmt.Errorf("the engine ended with status %d", exit.ExitCode())
}

// stop asks the engine to end, then makes it.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		p.kill()
	}
}

// kill ends the engine now, and waits for its end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}
