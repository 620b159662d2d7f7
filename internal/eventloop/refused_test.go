//go:build linux

package eventloop_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"golang.org/x/sys/unix"
)

// errnoVariable makes this test's process a child's: epoll_pwait2 fails with it.
const errnoVariable = "REDOUBT_TEST_EPOLL_PWAIT2"

// TestWaitSleepsWhateverRefusesEpollPwait2: a kernel says ENOSYS, a filter of
// system calls what it likes. A child of ours has such a filter; when it has
// waited once, a second one kills it if it tries again.
func TestWaitSleepsWhateverRefusesEpollPwait2(t *testing.T) {
	if told := os.Getenv(errnoVariable); told != "" {
		errno, room, _ := strings.Cut(told, " ")
		n, err := strconv.Atoi(errno)
		if err != nil {
			t.Fatal(err)
		}
		if room != "" {
			eventloop.Room(1)
		}
		waitRefused(t, uint32(n))
		return
	}
	for _, errno := range []unix.Errno{0, unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EINVAL} {
		for _, room := range []string{"", " room"} {
			t.Run(fmt.Sprintf("errno %d%s", errno, room), func(t *testing.T) {
				child := exec.Command(os.Args[0], "-test.run=^TestWaitSleepsWhateverRefusesEpollPwait2$", "-test.v")
				child.Env = append(os.Environ(), fmt.Sprintf("%s=%d%s", errnoVariable, errno, room))
				if out, err := child.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// waitRefused waits with epoll_pwait2 refused; 0 is the control without a filter.
func waitRefused(t *testing.T, errno uint32) {
	p := poller(t)
	if errno != 0 {
		filter(t, unix.SECCOMP_RET_ERRNO|errno)
	}
	for i := range 3 {
		sleeps(t, p)
		if i == 0 && errno != 0 {
			filter(t, unix.SECCOMP_RET_KILL_PROCESS)
		}
	}
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		p.Wake()
	}()
	if events, _ := waited(p, -1); len(events) != 1 || !events[0].Token.Woken() {
		t.Fatalf("%+v", events)
	}
	<-woken
}

// filter has the kernel do this to every epoll_pwait2 of this process.
func filter(t *testing.T, action uint32) {
	t.Helper()
	runtime.LockOSThread() // PR_SET_NO_NEW_PRIVS is the thread's
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_EPOLL_PWAIT2, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: action},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	// Of every thread: the runtime chooses which one waits.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		t.Fatalf("seccomp: %v", errno)
	}
}
