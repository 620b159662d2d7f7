//go:build simulation && slow

package simulation

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A mutant is the product with a mend taken out.
type mutant struct {
	fault    string
	file     string
	old, new string
	seeds    int // within so many it must be found
}

var mutants = []mutant{
	{"SELECT in a MULTI, then the way back to the lane of another database", "internal/sidecar/course.go",
		" || c.Returns == command.OutsideMulti && s.transaction {", " {", 2000},
	{"a pipeline that is sent before it is read hangs", "internal/sidecar/guest.go",
		"	case k != nil && k.backlogged():", "	case g.socket.blocked && len(g.out) > 64<<10, k != nil && k.backlogged():", 2000},
	{"guests wait for a successor that can't be attached", "internal/sidecar/refresh.go",
		"			l.closeLink(k)\n		}\n		l.letGo(k)", "			l.closeLink(k)\n			l.letGo(k)\n		}", 20000},
	{"who only writes is never told its last", "internal/sidecar/guest.go",
		"	case ending, parting:", "	case parting:", 20000},
	{"guests of a gateway that was left stay", "internal/sidecar/route.go",
		"		case !g.stale(now) || g.phase == waiting:", "		case true:", 20000},
	{"CLIENT LIST beside who has seized a lane", "internal/sidecar/clientlist.go",
		" && last != nil && ", " && ", 20000},
	{"a guest isn't gone on with behind its last reply", "internal/sidecar/replies.go",
		"	case barred:\n		g.loop.later(g)", "	case barred:", 2000},
	{"a private lane isn't read again", "internal/sidecar/replies.go",
		"	if len(g.out) < unreadPrivate/2 {", "	if false {", 20000},
	{"a drain waits for the rest of a command that nobody reads", "internal/sidecar/loop.go",
		"		g.tear()\n", "", 40000},
	{"a guest goes back within a transaction", "internal/sidecar/own.go",
		" || c.body || c.transaction || c.watching", " || c.body || c.watching", 20000},
	{"an end that came with the last bytes is missed, by the sidecar", "internal/sidecar/guest.go",
		"n == len(buf) || g.socket.ended {", "n == len(buf) {", 2000},
	{"the same, by a lane", "internal/eventloop/wire.go",
		"n < bufferSize && !w.ended", "n < bufferSize", 2000},
	{"the same, by the gateway", "internal/gateway/relay.go",
		"n == len(buf) || r.out.ended", "n == len(buf)", 20000},
	{"what others had queued on a lane that is seized is forgotten", "internal/sidecar/own.go",
		"of.link, of.unsent = nil, others", "of.link = nil\n	_ = others", 20000},
	{"the engine isn't told of what it hadn't taken", "internal/gateway/relay.go",
		"	r.deliver(nil)\n", "", 2000},
}

// TestMutantsAreFound: each fault that was mended is found again when its mend is
// taken out.
func TestMutantsAreFound(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.fault, func(t *testing.T) {
			program := m.build(t)
			out, err := exec.Command(program, "-test.run", "^TestSeeds$", "-test.timeout", "0", "-seeds", fmt.Sprint(m.seeds)).CombinedOutput()
			if err == nil {
				t.Fatalf("not found within %d seeds", m.seeds)
			}
			found := regexp.MustCompile("seed [0-9]+, .*").FindString(string(out))
			if found == "" {
				t.Fatalf("%s", out)
			}
			t.Logf("%.200s", found)
		})
	}
}

// build builds the simulation with the mutant in the product's place.
func (m mutant) build(t *testing.T) (program string) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("%s has %q %d times: the mend has changed, so must this", m.file, m.old, n)
	}
	dir := t.TempDir()
	mutated := filepath.Join(dir, filepath.Base(m.file))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "simulation.test")
	for name, content := range map[string][]byte{mutated: []byte(strings.Replace(string(text), m.old, m.new, 1)), filepath.Join(dir, "overlay"): overlay} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "test", "-c", "-tags", "simulation", "-overlay", filepath.Join(dir, "overlay"), "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}
