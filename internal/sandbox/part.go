package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Part is a part of this very program that runs as a process of its own, confined:
// one that strangers talk to, or one that holds a key.
type Part struct {
	// Name is what Main knows it by; the process is called "redoubt-NAME".
	Name string
	// UID and GID are who it becomes, as in Spec.
	UID, GID int
	// Isolate is Spec's too. What it inherits or is sent (sockets) stays in the name
	// space that it was made in.
	Isolate bool
	// Read are files and directories that it may read, with all that lies in them.
	Read []string
	// Write are directories in which it may also make, change, rename and remove files.
	// Without any it can write no file at all.
	Write []string
	// Descriptors bounds how many it may have open, whatever it is sent; 0: as many as
	// this process.
	Descriptors uint64
}

// FirstFile is the descriptor at which a part finds the first of the files that it
// was started with; the next ones follow.
const FirstFile = orderFD + 1

const (
	orderFD = 3 // the first of exec.Cmd.ExtraFiles

	// maxFiles bounds what a part is started with.
	maxFiles = 8
)

// A Role is what a part does. Run gets no argument: what it is to do comes over its
// files. Its result is the exit code.
type Role struct {
	Name string
	Run  func() int
}

func processName(part string) string { return "redoubt-" + part }

var validName = regexp.MustCompile(`^[a-z]{1,16}$`)

// spec is the part as the shim starts it: this binary under another name.
func (p Part) spec() Spec {
	return Spec{Path: "/proc/self/exe", Args: []string{processName(p.Name)}, Dir: "/", UID: p.UID, GID: p.GID, Isolate: p.Isolate}
}

func (p Part) validate(files []*os.File) error {
	if !validName.MatchString(p.Name) {
		return fmt.Errorf("part %q: the name must be a few small letters", p.Name)
	}
	if len(files) > maxFiles {
		return fmt.Errorf("part %s: %d files to start with, at most %d can be handed over", p.Name, len(files), maxFiles)
	}
	for _, paths := range [][]string{p.Read, p.Write} {
		for _, path := range paths {
			if !filepath.IsAbs(path) {
				return fmt.Errorf("part %s: the path %q must be absolute", p.Name, path)
			}
		}
	}
	return nil
}
