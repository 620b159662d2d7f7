//go:build linux

package sandbox

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// failure runs a shim that can't become its program and returns its one line.
func failure(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != ExitFailed {
		t.Fatalf("ended with %v, want exit code %d; stderr %q", err, ExitFailed, stderr.String())
	}
	line, rest, _ := strings.Cut(stderr.String(), "\n")
	if rest != "" || stdout.Len() > 0 {
		t.Fatalf("wrote more than one line: %q, stdout %q", stderr.String(), stdout.String())
	}
	return line
}

func TestShimThatFailsSaysWhereAndWhy(t *testing.T) {
	needRoot(t)
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	a := newArena(t, freeUID)
	asUser := func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: freeUID, Gid: freeUID}
	}
	for _, c := range []struct {
		name   string
		change func(*Spec)
		start  func(*exec.Cmd)
		want   string
	}{
		{"no program", func(s *Spec) { s.Path = nowhere }, nil,
			"sandbox: landlock: allow " + nowhere + ": no such file or directory"},
		{"no directory", func(s *Spec) { s.Dir = nowhere }, nil,
			"sandbox: landlock: allow " + nowhere + ": no such file or directory"},
		{"a directory of somebody else", func(s *Spec) { s.UID, s.GID = freeUID+1, freeUID+1 }, nil,
			"sandbox: directory: uid 61843 can't make its socket in " + a.dir + ": permission denied"},
		{"a program that is none", func(s *Spec) { s.Path = "/etc/passwd" }, nil,
			"sandbox: exec: /etc/passwd: permission denied"},
		{"another identity without root", func(s *Spec) { s.UID = 1; s.GID = 1 }, asUser,
			"sandbox: identity: become uid 1, gid 1: operation not permitted (only root can)"},
		{"namespaces without root", func(s *Spec) { s.UID = -1; s.GID = -1; s.Isolate = true }, asUser,
			"sandbox: namespaces: operation not permitted: own namespaces need root (CAP_SYS_ADMIN)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := a.spec("nothing")
			c.change(&s)
			cmd := confined(t, s, allLayers())
			if c.start != nil {
				c.start(cmd)
			}
			if got := failure(t, cmd); got != c.want {
				t.Errorf("said %q,\n want %q", got, c.want)
			}
		})
	}
}

func TestShimRefusesAnOrderThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "other text": "port 0\n", "unknown key": `{"Path":"/bin/true","Sandbox":false}`, "no directory": `{"Path":"/bin/true","Args":["true"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			must(t, err)
			_, err = w.WriteString(text)
			must(t, err)
			must(t, w.Close())
			defer r.Close()
			cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{shimName}, ExtraFiles: []*os.File{r}}
			if got := failure(t, cmd); !strings.HasPrefix(got, "sandbox: order on descriptor 3: ") {
				t.Errorf("said %q", got)
			}
		})
	}
	if got := failure(t, &exec.Cmd{Path: "/proc/self/exe", Args: []string{shimName}}); !strings.Contains(got, "only redoubt itself starts") {
		t.Errorf("without a descriptor it said %q", got)
	}
}

func TestShimRefusesToOutliveItsParent(t *testing.T) {
	cmd, err := Command(Spec{Path: probePath, Args: []string{"probe", "nothing"}, Dir: t.TempDir(), UID: -1, GID: -1})
	must(t, err)
	o, err := takeOver(cmd.ExtraFiles[0])
	must(t, err)
	o.Parent = 1 // as if the supervisor had died and init taken its child
	pipe, err := handOver(o)
	must(t, err)
	cmd.ExtraFiles = []*os.File{pipe}
	if got, want := failure(t, cmd), "sandbox: parent: the process that started this one has ended"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

// TestStepsComeInTheOrderTheirReasonsAsk: most of these mistakes would still
// start an engine, with less around it.
func TestStepsComeInTheOrderTheirReasonsAsk(t *testing.T) {
	var s shim
	first, last := map[string]int{}, map[string]int{}
	for i, step := range s.steps() {
		if _, seen := first[step.name]; !seen {
			first[step.name] = i
		}
		last[step.name] = i
	}
	for _, c := range []struct{ earlier, later, why string }{
		{"core dump filter", "dumpable", "the file is root's once the shim is not dumpable"},
		{"descriptors", "dumpable", "so is /proc/self/fd"},
		{"dumpable", "identity", "the new user's other processes must never be able to attach"},
		{"namespaces", "identity", "they need CAP_SYS_ADMIN"},
		{"bounding set", "identity", "it needs CAP_SETPCAP"},
		{"identity", "capabilities", "a change of uid needs them"},
		{"identity", "no_new_privs", "nothing may be gained after it"},
		{"identity", "parent", "a change of uid clears the parent-death signal (prctl(2))"},
		{"no_new_privs", "exec", "seccomp needs it of a caller without CAP_SYS_ADMIN"},
		{"MDWE", "exec", "exec inherits it"},
	} {
		earlier, ok1 := last[c.earlier]
		later, ok2 := first[c.later]
		if !ok1 || !ok2 || earlier >= later {
			t.Errorf("%q must come before %q: %s", c.earlier, c.later, c.why)
		}
	}
	// Landlock and the directory are prepared with the rights of before, and
	// made use of with those of after.
	for _, name := range []string{"landlock", "directory"} {
		if first[name] >= first["identity"] || last[name] <= last["identity"] {
			t.Errorf("%q must come before the change of identity, and again after it", name)
		}
	}
	if last["exec"] != len(s.steps())-1 {
		t.Error("the exec must be last")
	}
}
