package part

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// Process is a part that was started.
type Process struct {
	name string
	cmd  *exec.Cmd
	said said
	done chan struct{}
	end  error // read it after done
}

// lastLook is how long what an ended part has said is still read: all of it is in the
// pipe by then.
const lastLook = time.Second

// Start starts a part with these files, which stay the caller's, and writes what it says
// to log. Two goroutines live as long as it does.
func Start(p sandbox.Part, log *slog.Logger, files ...*os.File) (*Process, error) {
	cmd, err := p.Command(files...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	order := cmd.ExtraFiles[0]
	defer order.Close() // the child has its own by then
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: pipe for what it says: %w", p.Name, err)
	}
	cmd.Stderr = w
	s := &Process{name: p.Name, cmd: cmd, done: make(chan struct{}), said: said{log: log.With(nameKey, p.Name)}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.said.read(r)
	}()
	started := make(chan error)
	go s.live(started, w, r, read)
	if err := <-started; err != nil {
		<-s.done
		return nil, fmt.Errorf("%s: start: %w", p.Name, err)
	}
	return s, nil
}

// live starts the process and stays until it has ended, on a thread that is its own all
// the while: with the thread the process would end.
func (s *Process) live(started chan<- error, w, r *os.File, read <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	defer r.Close()
	err := s.cmd.Start()
	w.Close()
	started <- err
	if err == nil {
		err = s.cmd.Wait()
	}
	r.SetReadDeadline(time.Now().Add(lastLook))
	<-read
	s.end = s.howItEnded(err)
}

// howItEnded says it in words; nil is an end that the part itself calls good.
func (s *Process) howItEnded(err error) error {
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		return err
	}
	how := fmt.Sprintf("ended with status %d", exit.ExitCode())
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		how = "died of " + unix.SignalName(status.Signal())
	}
	if s.said.last != "" {
		how += ": " + s.said.last
	}
	return fmt.Errorf("%s %s", s.name, how)
}

// PID is the process's id.
func (s *Process) PID() int { return s.cmd.Process.Pid }

// Done is closed when it has ended and all that it said is in the log.
func (s *Process) Done() <-chan struct{} { return s.done }

// End is how it ended, after Done.
func (s *Process) End() error { return s.end }

// Kill ends it now, and waits for its end.
func (s *Process) Kill() {
	s.cmd.Process.Kill() // fails only when it has ended
	<-s.done
}
