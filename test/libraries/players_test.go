//go:build slow

package libraries_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A pose is a library in a state.
type pose struct {
	library, state string
	argv           []string
}

func (p pose) String() string { return p.library + " " + p.state }

// program is what the library's program calls the state.
func (p pose) program() string {
	if p.state == "idle" || p.state == "busy" {
		return "command"
	}
	return p.state
}

// A player is a pose's process.
type player struct {
	pose
	key   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	heard chan struct{} // has room for one
	ended chan struct{}

	mu     sync.Mutex
	events []event
	free   bool // to be asked, whatever its state
}

// An event is a line that the program has written.
type event struct {
	at   time.Time
	text string
}

// play starts a pose's program.
func (p pose) play(t *testing.T, url string) *player {
	t.Helper()
	y := &player{pose: p, key: p.library + "-" + p.state, heard: make(chan struct{}, 1), ended: make(chan struct{})}
	y.cmd = exec.CommandContext(t.Context(), p.argv[0], append(slices.Clone(p.argv[1:]), p.library, p.program())...)
	y.cmd.Env = append(os.Environ(), "REDIS_URL="+url, "KEY="+y.key)
	y.cmd.Stderr = os.Stderr
	y.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	y.cmd.Cancel = y.kill
	out, err := y.cmd.StdoutPipe()
	if err == nil {
		y.in, err = y.cmd.StdinPipe()
	}
	if err == nil {
		err = y.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go y.listen(out)
	if p.state != "blocked" && p.state != "subscribed" {
		go y.ask()
	}
	return y
}

func (y *player) listen(out io.Reader) {
	defer close(y.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		y.mu.Lock()
		y.events = append(y.events, event{time.Now(), lines.Text()})
		y.mu.Unlock()
		select {
		case y.heard <- struct{}{}:
		default:
		}
	}
	_ = y.cmd.Wait()
}

// ask has the program do its thing again and again, while it may.
func (y *player) ask() {
	for pause := time.NewTicker(tick); ; {
		select {
		case <-pause.C:
		case <-y.ended:
			return
		}
		if !y.mayBeAsked() {
			continue
		}
		if _, err := io.WriteString(y.in, "\n"); err != nil {
			return
		}
		if y.state == "worker" { // it answers with the jobs that are done
			continue
		}
		select {
		case <-y.heard:
		case <-y.ended:
			return
		}
	}
}

func (y *player) mayBeAsked() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.free || y.state == "busy" || y.state == "transaction" && y.last() != "watched"
}

func (y *player) let(free bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.free = free
}

func (y *player) last() string {
	if len(y.events) == 0 {
		return ""
	}
	return y.events[len(y.events)-1].text
}

// well says that its last word was no error.
func (y *player) well() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.last() == "ok" || y.last() == "watched"
}

// poised says that it is well, and in a transaction if it is to be.
func (y *player) poised() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.last() == "watched" || y.state != "transaction" && y.last() == "ok"
}

// over says whether its process has ended.
func (y *player) over() bool {
	select {
	case <-y.ended:
		return true
	default:
		return false
	}
}

// kill ends it with the worker that it may have started.
func (y *player) kill() error { return syscall.Kill(-y.cmd.Process.Pid, syscall.SIGKILL) }

func (y *player) end() {
	_ = y.kill()
	y.in.Close()
	<-y.ended
}

// A fate is what became of a player.
type fate struct {
	how  string        // "" if it came back by itself; else it hangs, fails or ends
	back time.Duration // then, how long after the cache
	saw  []string      // what the application was told
}

func (f fate) String() string {
	s := f.how
	if s == "" {
		s = f.back.Round(100 * time.Millisecond).String()
	}
	return s + "  " + strings.Join(f.saw, " | ")
}

// fate judges what a player has said since the cache went down. It is back from the
// first thing that it has done, after the cache was, with no error behind it.
func (y *player) fate(down, back time.Time) fate {
	y.mu.Lock()
	defer y.mu.Unlock()
	f := fate{how: "hangs"}
	if y.over() {
		f.how = "ends"
	}
	for _, e := range y.events {
		switch {
		case e.at.Before(down), e.text == "watched", e.text == "ok" && (f.how == "" || e.at.Before(back)):
			continue
		case e.text == "ok":
			f.how, f.back = "", e.at.Sub(back)
			continue
		case strings.HasPrefix(e.text, "ended"):
			f.how = "ends"
		default:
			f.how = "fails"
		}
		if !slices.Contains(f.saw, e.text) {
			f.saw = append(f.saw, e.text)
		}
	}
	return f
}
