package sandbox

import (
	"fmt"
	"strings"
)

// Report says what this kernel, with this process's rights, gives to a
// confined program.
type Report struct {
	Landlock   int  // Landlock's ABI version; 0: none
	Seccomp    bool // system call filters
	MDWE       bool // memory can't become executable (PR_SET_MDWE)
	Namespaces bool // Spec.Isolate can be had
}

// landlockGains lists what each Landlock ABI added (landlock(7)), and so what
// an older one does not refuse. What came after ABI 6 (9: pathname sockets) is
// left out until kernels that people run have it: everybody would read of it,
// and nobody could mend it.
var landlockGains = []struct {
	abi  int
	what string
}{
	{2, "moving files between directories"},
	{3, "truncating files"},
	{4, "TCP"},
	{5, "device ioctls"},
	{6, "abstract sockets and signals"},
}

// Missing names each protection that can't be had here and what then stands
// in for it. It is empty on a current kernel when started as root.
func (r Report) Missing() []string {
	var missing []string
	if !r.Seccomp {
		missing = append(missing, "seccomp filters (Linux 3.17, amd64 or arm64): the engine can't be confined and will not be started")
	}
	if r.Landlock == 0 {
		missing = append(missing, "Landlock (Linux 5.13, and \"landlock\" in the kernel's lsm= list): the engine can read, and remove (unlink), what its uid can; writing is refused by seccomp alone")
	} else if lacks := r.landlockLacks(); len(lacks) > 0 {
		missing = append(missing, fmt.Sprintf("Landlock ABI %d does not know %s: refused by seccomp alone", r.Landlock, strings.Join(lacks, ", ")))
	}
	if !r.MDWE {
		missing = append(missing, "MDWE (Linux 6.3): memory that turns executable is refused by seccomp alone")
	}
	if !r.Namespaces {
		missing = append(missing, "own network, IPC and UTS namespaces (needs root): the network is refused by seccomp and Landlock alone, and abstract unix sockets can be bound")
	}
	return missing
}

func (r Report) landlockLacks() []string {
	var lacks []string
	for _, gain := range landlockGains {
		if gain.abi > r.Landlock {
			lacks = append(lacks, gain.what)
		}
	}
	return lacks
}

// String is one line for start-up output.
func (r Report) String() string {
	landlock := "no Landlock"
	if r.Landlock > 0 {
		landlock = fmt.Sprintf("Landlock ABI %d", r.Landlock)
	}
	have := func(ok bool, name string) string {
		if ok {
			return name
		}
		return "no " + name
	}
	return strings.Join([]string{landlock, have(r.Seccomp, "seccomp"), have(r.MDWE, "MDWE"), have(r.Namespaces, "namespaces")}, ", ")
}

// A Trial is what came of attempting everything in the sandbox.
type Trial struct {
	Attempts []Attempt
	Status   map[string]string // what the kernel showed of the program that tried (proc(5), /proc/PID/status)
}

// An Attempt is one thing that a program in the sandbox has tried.
type Attempt struct {
	Name    string
	Outcome string // "refused: " and the kernel's word, "not refused", or why it isn't known
	Refused bool

	// Possible says that it succeeded outside the sandbox, so that its refusal means
	// something.
	Possible bool
}
