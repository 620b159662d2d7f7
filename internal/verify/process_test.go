package verify

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

const asProcess = "REDOUBT_TEST_PROCESS"

// TestBeAProcess is no test: it is the process that the others look at.
func TestBeAProcess(t *testing.T) {
	switch os.Getenv(asProcess) {
	case "":
		return
	case "protected":
		_ = sandbox.Ourselves() // memory needn't be locked for this
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// run starts this binary as a process of uid, and returns it when it is ready.
func run(t *testing.T, uid uint32, kind string) process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestBeAProcess$")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), asProcess+"="+kind)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	return process{kind, cmd.Process.Pid}
}

func TestWhoMayBeAttachedToIsSeen(t *testing.T) {
	for kind, want := range map[string]bool{"protected": false, "ordinary": true} {
		uid, dumpable, err := run(t, 61234, kind).dumpable()
		if uid != 61234 || dumpable != want || err != nil {
			t.Errorf("%s: %d %v %v", kind, uid, dumpable, err)
		}
	}
}

func TestFilesThatMemoryIsWrittenToAreSeen(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "mapped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	self := process{"self", os.Getpid()}
	for flags, want := range map[int]bool{unix.MAP_SHARED: true, unix.MAP_PRIVATE: false} {
		mapped, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, flags)
		if err != nil {
			t.Fatal(err)
		}
		list, err := self.sharedWritable()
		got := slices.ContainsFunc(list, func(m mapping) bool { return m.file == f.Name() && !m.inMemory() })
		if got != want || err != nil {
			t.Errorf("flags %d: %q %v", flags, list, err)
		}
		if err := unix.Munmap(mapped); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEverySocketThatLeadsOutIsSeen, of families that /proc/net has tables of, and of
// those that it doesn't, bound or not.
func TestEverySocketThatLeadsOutIsSeen(t *testing.T) {
	self := process{"self", os.Getpid()}
	for name, kind := range map[string][2]int{
		"tcp": {unix.AF_INET, unix.SOCK_STREAM}, "udp6": {unix.AF_INET6, unix.SOCK_DGRAM}, "packet": {unix.AF_PACKET, unix.SOCK_RAW},
		"netlink": {unix.AF_NETLINK, unix.SOCK_RAW}, "unix": {unix.AF_UNIX, unix.SOCK_STREAM},
	} {
		fd, err := unix.Socket(kind[0], kind[1]|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(name, err)
		}
		list, all, err := self.notUnix(self)
		if got := slices.Contains(list, fmt.Sprint(st.Ino)); got != (name != "unix") || all == 0 || err != nil {
			t.Errorf("%s: inode %d among %v, of %d: %v", name, st.Ino, list, all, err)
		}
		unix.Close(fd)
	}
}

// TestAUnixSocketThatAReadingLeavesOutIsOne: on a busy machine the kernel's table lacks
// one now and then, which is not to be taken for a way out.
func TestAUnixSocketThatAReadingLeavesOutIsOne(t *testing.T) {
	const head, theirs = "Num       RefCount Protocol Flags    Type St Inode Path\n", "0000000000000000: 00000002 00000000 00000000 0001 01 4711\n"
	readings := 0
	open := map[string]bool{"4711": true, "42": true}
	err := takeOutUnix(open, func() (string, error) {
		if readings++; readings == 2 {
			return head + theirs, nil
		}
		return head, nil
	})
	if err != nil || open["4711"] || !open["42"] {
		t.Errorf("left are %v, %v", open, err)
	}
}
