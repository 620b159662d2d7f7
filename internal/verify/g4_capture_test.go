package verify

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhoCapturesPacketsIsSeen, in a network namespace of this test's own. Its thread
// ends with the goroutine.
func TestWhoCapturesPacketsIsSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		const all, arp = 0x0300, 0x0608 // in network order
		for protocol, want := range map[int]bool{all: true, arp: false} {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
			if err != nil {
				t.Error(err)
				return
			}
			table, err := process{"thread", unix.Gettid()}.read("net", "packet")
			if err != nil {
				t.Error(err)
			}
			list, err := parseCaptures(table)
			if err != nil || len(list) != 1 || list[0].iface != 0 || list[0].ofIP() != want {
				t.Errorf("protocol %04x: %+v %v", protocol, list, err)
			}
			unix.Close(fd)
		}
	}()
	<-done
}
