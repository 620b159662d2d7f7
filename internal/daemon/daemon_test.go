package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// journal writes down what happens, in order.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, fmt.Sprintf(format, args...))
}

func (j *journal) part(name string, startup, drain time.Duration) Part {
	return Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		j.add("start %s", name)
		time.Sleep(startup) // synctest's clock
		ready()
		<-ctx.Done()
		time.Sleep(drain)
		j.add("end %s", name)
		return nil
	}}
}

func failing(name string, after time.Duration, err error) Part {
	return Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		ready()
		select {
		case <-time.After(after):
			return err
		case <-ctx.Done():
			return nil
		}
	}}
}

var quiet = slog.New(slog.DiscardHandler)

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		signals := make(chan os.Signal, 2)
		go func() {
			time.Sleep(time.Minute)
			signals <- syscall.SIGTERM
		}()
		err := run(t.Context(), quiet, signals, func() { j.add("ready") },
			[]Part{j.part("engine", time.Second, time.Second), j.part("gateway", time.Second, time.Second), j.part("sidecar", 0, 5*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"start engine", "start gateway", "start sidecar", "ready", "end sidecar", "end gateway", "end engine"}
		if !slices.Equal(j.events, want) {
			t.Fatalf("got  %q\nwant %q", j.events, want)
		}
	})
}

func TestTheFirstFailureEndsAllAndIsTheError(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		end  error
		want string
	}{
		"with an error":    {broken, "gateway: broken"},
		"without an error": {nil, "gateway ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				err := run(t.Context(), quiet, nil, func() {},
					[]Part{j.part("engine", 0, time.Second), failing("gateway", time.Second, c.end), j.part("sidecar", 0, 0)})
				if err == nil || err.Error() != c.want {
					t.Fatalf("got %v, want %s", err, c.want)
				}
				if j.events[len(j.events)-1] != "end engine" {
					t.Fatalf("the engine did not end last: %q", j.events)
				}
			})
		})
	}
}

func TestAPartThatFailsToStartKeepsTheNextFromStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		never := Part{Name: "gateway", Run: func(context.Context, func()) error { return errors.New("port taken") }}
		err := run(t.Context(), quiet, nil, func() { j.add("ready") }, []Part{j.part("engine", 0, 0), never, j.part("sidecar", 0, 0)})
		if err == nil || err.Error() != "gateway: port taken" {
			t.Fatal(err)
		}
		if want := []string{"start engine", "end engine"}; !slices.Equal(j.events, want) {
			t.Fatalf("got %q, want %q", j.events, want)
		}
	})
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		signals := make(chan os.Signal, 2)
		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM
		began := time.Now()
		stuck := j.part("stuck", 0, time.Hour)
		err := run(t.Context(), quiet, signals, func() {}, []Part{stuck})
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("got %v, want ErrInterrupted", err)
		}
		if d := time.Since(began); d != 0 {
			t.Fatalf("took %v", d)
		}
		time.Sleep(2 * time.Hour) // synctest wants the part to end, too
	})
}

func TestAnErrorWhileStoppingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		bad := Part{Name: "gateway", Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return errors.New("could not drain")
		}}
		err := run(ctx, quiet, nil, func() {}, []Part{bad})
		if err == nil || !strings.Contains(err.Error(), "gateway: while stopping: could not drain") {
			t.Fatal(err)
		}
	})
}

func TestRunStopsOnARealSignal(t *testing.T) {
	signal.Ignore(syscall.SIGHUP) // as nohup does; must not matter
	ready := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	var j journal
	if err := Run(t.Context(), quiet, ready, j.part("only", 0, 0)); err != nil {
		t.Fatal(err)
	}
	if j.events[len(j.events)-1] != "end only" {
		t.Fatalf("%q", j.events)
	}
}

// TestSIGHUPEndsNothing in a service, and is answered; it runs in a process of its own,
// which has no terminal.
func TestSIGHUPEndsNothing(t *testing.T) {
	if os.Getenv("REDOUBT_HANGUP") != "" {
		log := slog.New(slog.NewTextHandler(os.Stdout, nil))
		part := Part{Name: "part", Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return nil
		}}
		if os.Getenv("REDOUBT_HANGUP") == "read anew" {
			part.Hangup = func(context.Context) { fmt.Println("read anew") }
		}
		if err := Run(t.Context(), log, func() { fmt.Println("ready") }, part); err != nil {
			t.Fatal(err)
		}
		fmt.Println("stopped in order")
		return
	}
	for _, says := range []string{"SIGHUP changes nothing", "read anew"} {
		hangUp(t, says)
	}
}

// hangUp sends SIGHUP to a process of its own, and ends it when that has been answered.
func hangUp(t *testing.T, says string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Whoever runs these tests may ignore it, which children inherit.
	cmd := exec.CommandContext(t.Context(), "env", "--default-signal=HUP", self, "-test.run=TestSIGHUPEndsNothing$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), "REDOUBT_HANGUP="+says)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	next := map[string]syscall.Signal{"ready": syscall.SIGHUP, says: syscall.SIGTERM}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		for when, s := range next {
			if strings.Contains(lines.Text(), when) {
				cmd.Process.Signal(s)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !slices.Contains(said, "stopped in order") || !strings.Contains(strings.Join(said, "\n"), says) {
		t.Errorf("%v\n%s", err, strings.Join(said, "\n"))
	}
}

// TestSystemdHearsOfLifeUntilAPartIsStuck speaks to a socket as systemd has it.
func TestSystemdHearsOfLifeUntilAPartIsStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	const patience = 600 * time.Millisecond
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(patience.Microseconds(), 10))
	var stuck atomic.Bool
	var beats atomic.Int64
	asked := make(chan struct{}, 100)
	part := Part{
		Name: "part",
		Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return nil
		},
		Alive: func(ctx context.Context) bool {
			if stuck.Load() {
				asked <- struct{}{}
				<-ctx.Done()
				return false
			}
			beats.Add(1)
			return true
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx, quiet, make(chan os.Signal), func() {}, []Part{part}) }()
	heard := func(within time.Duration) string {
		systemd.SetReadDeadline(time.Now().Add(within))
		buf := make([]byte, 100)
		n, err := systemd.Read(buf)
		if err != nil {
			return ""
		}
		return string(buf[:n])
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := heard(time.Minute); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	stuck.Store(true)
	<-asked
	for range beats.Load() - 3 { // were on their way
		heard(time.Minute)
	}
	if got := heard(2 * patience); got != "" {
		t.Errorf("of a part that is stuck: %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := heard(time.Minute); got != "STOPPING=1" {
		t.Errorf("at the end: %q", got)
	}
}
