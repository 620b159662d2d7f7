package sandbox

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
)

// ExitFailed is the exit code of a shim that could not lock itself down and so
// did not become the program. It is our code for "environment not able".
const ExitFailed = 3

// Spec says what the confined program is and the little that it may do.
type Spec struct {
	// Path is the program, absolute. It gets READ and EXECUTE, so no link to a
	// directory that others can write may lead to it.
	Path string
	// Args is its argv, argv[0] included: redis takes its mode from argv[0], so
	// that must be "redis-server" whatever the file is called.
	Args []string
	// Dir is its working directory and the only place where it can make (and
	// remove) a socket. UID must be able to write there, but need not be able to
	// reach it by its path: the shim enters it first. So name things relative to it.
	Dir string
	// UID and GID are who it becomes, with no further groups; -1 for both keeps
	// the caller's identity and groups. Another one needs root.
	UID, GID int
	// Isolate gives it network, IPC and UTS namespaces of its own. It needs
	// CAP_SYS_ADMIN: Report.Namespaces says whether it can be had.
	Isolate bool
}

func (s Spec) validate() error {
	switch {
	case !filepath.IsAbs(s.Path):
		return fmt.Errorf("program %q: the path must be absolute", s.Path)
	case len(s.Args) == 0:
		return fmt.Errorf("program %s: no arguments, not even its own name", s.Path)
	case !filepath.IsAbs(s.Dir):
		return fmt.Errorf("directory %q: the path must be absolute", s.Dir)
	case s.UID < -1 || s.GID < -1 || (s.UID == -1) != (s.GID == -1):
		return fmt.Errorf("identity %d:%d: uid and gid must both be given, or both be -1", s.UID, s.GID)
	}
	return nil
}

// order is what Command hands to the shim: the Spec and what only the two of
// them know.
type order struct {
	Spec
	// Parent is the process that must still be there when the parent-death
	// signal is armed, else nobody would ever stop the program.
	Parent int
	Layers layers
	// Part is set where the program is one of ours, and Files is how many it inherits.
	Part  *Part
	Files int
	// Processors and Debug are the part's GOMAXPROCS and GODEBUG.
	Processors int
	Debug      string
}

// layers are the guarantees that stand on their own. Only tests hold some
// back, to prove each one without the others.
type layers struct {
	Landlock int // the highest ABI to use; 0: none
	MDWE     bool
	Seccomp  bool
}

func allLayers() layers { return layers{Landlock: math.MaxInt, MDWE: true, Seccomp: true} }

// maxOrder is PIPE_BUF: what any pipe takes at once, so that writing an order
// before its reader exists cannot block (pipe(7)).
const maxOrder = 4096

var errOrderTooLong = errors.New("arguments and paths are too long to hand over (4096 bytes)")
