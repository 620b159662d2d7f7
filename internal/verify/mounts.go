package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A mount is a line of /proc/PID/mountinfo (proc(5)).
type mount struct {
	device string // MAJOR:MINOR, one for each file system
	at     string
	kind   string // of the file system
}

// escapes are what the kernel writes for what would end a field.
var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func parseMount(line string) (m mount, ok bool) {
	fields, rest, ok := strings.Cut(line, " - ")
	before, after := strings.Fields(fields), strings.Fields(rest)
	if !ok || len(before) < 5 || len(after) < 1 {
		return mount{}, false
	}
	return mount{device: before[2], at: escapes.Replace(before[4]), kind: after[0]}, true
}

// filesystemOf is the type of the file system that a path is on.
func filesystemOf(path string) (kind string, err error) {
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	best := ""
	for line := range strings.Lines(string(mounts)) {
		m, ok := parseMount(line)
		if ok && (path == m.at || m.at == "/" || strings.HasPrefix(path, m.at+"/")) && len(m.at) >= len(best) {
			best, kind = m.at, m.kind
		}
	}
	if kind == "" {
		return "", fmt.Errorf("no mount holds %s", path)
	}
	return kind, nil
}
