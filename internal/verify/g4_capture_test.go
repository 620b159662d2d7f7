package verify

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestWhoCapturesPacketsIsSeen, in a network namespace of this test's own.
func TestWhoCapturesPacketsIsSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	if err := lab.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		const all, arp = 0x0300, 0x0608 // in network order
		for protocol, want := range map[int]bool{all: true, arp: false} {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
			if err != nil {
				return err
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
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
