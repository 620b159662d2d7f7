//go:build sabotage && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// sabotaged leaves out the step that the supervisor's environment names, as
// REDOUBT_SABOTAGE="shim NAME". Of three only a part is left out: "seccomp", and
// "RLIMIT_CORE" and "RLIMIT_FSIZE", which keep what the supervisor has.
func (s *shim) sabotaged(steps []step) []step {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
	if err != nil {
		panic(err)
	}
	for _, variable := range strings.Split(string(environ), "\x00") {
		name, ok := strings.CutPrefix(variable, "REDOUBT_SABOTAGE=shim ")
		switch {
		case !ok:
		case name == "seccomp":
			s.Layers.Seccomp = false
		case name == "namespaces":
			s.Isolate = false
		default:
			steps = slices.DeleteFunc(steps, func(st step) bool { return st.name == name })
		}
	}
	return steps
}
