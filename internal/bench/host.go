package bench

import (
	"bytes"
	"os"
	"runtime"
	"strings"
)

// thisHost describes the machine as far as the system tells; what it doesn't
// tell stays empty.
func thisHost() Host {
	h := Host{Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.System += " " + strings.TrimSpace(string(release))
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(info) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
				h.CPU = string(bytes.TrimSpace(value))
				break
			}
		}
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		if fields := strings.Fields(string(load)); len(fields) > 2 {
			h.LoadBefore = strings.Join(fields[:3], " ")
		}
	}
	return h
}
