//go:build sabotage && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// sabotaged leaves out the step that the supervisor's environment names, as
// REDOUBT_SABOTAGE="shim NAME", or of the exec the filter alone ("shim seccomp"). For a
// part of ours its name stands in the place of shim.
func (s *shim) sabotaged(steps []step) []step {
	of := "shim "
	if s.Part != nil {
		of = s.Part.Name + " "
	}
	for _, one := range told(os.Getppid()) {
		name, mine := strings.CutPrefix(one, of)
		if !mine {
			continue
		}
		switch name {
		case "seccomp":
			s.Layers.Seccomp = false
		case "namespaces":
			s.Isolate = false
		default:
			steps = slices.DeleteFunc(steps, func(st step) bool { return st.name == name })
		}
	}
	return steps
}

// ourselvesSabotaged: Ourselves does nothing with REDOUBT_SABOTAGE=ourselves.
func ourselvesSabotaged() bool { return slices.Contains(told(os.Getpid()), "ourselves") }

// told is what a process was told to leave out.
func told(pid int) []string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		panic(err)
	}
	for variable := range strings.SplitSeq(string(environ), "\x00") {
		if told, ok := strings.CutPrefix(variable, "REDOUBT_SABOTAGE="); ok {
			return strings.Split(told, ";")
		}
	}
	return nil
}
