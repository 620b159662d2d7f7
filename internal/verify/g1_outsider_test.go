package verify

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// TestAnOutsiderPassesOnlyWhatItTried: silence and refusal keep it out, a connection
// doesn't, and where it had no way or no time nothing is shown.
func TestAnOutsiderPassesOnlyWhatItTried(t *testing.T) {
	open, refusing, silent := listen(t), refuses(t), silentPort(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	const noWay = "255.255.255.255:1" // no TCP goes there (tcp(7))
	for name, c := range map[string]struct {
		ctx       context.Context
		addresses []string
		want      evidence.Outcome
		saw       string
	}{
		"refused":                    {t.Context(), []string{refusing}, evidence.Pass, "refused"},
		"silent":                     {t.Context(), []string{silent}, evidence.Pass, "timeout"},
		"many that are silent":       {t.Context(), slices.Repeat([]string{silent}, 2*outsideAtOnce), evidence.Pass, "timeout"},
		"connected, the last of all": {t.Context(), []string{refusing, silent, open}, evidence.Fail, open + ": connected"},
		"connected, though not all":  {t.Context(), []string{noWay, open}, evidence.Fail, open + ": connected"},
		"no way there":               {t.Context(), []string{refusing, noWay}, evidence.Skip, "not tried"},
		"no time":                    {over, []string{refusing}, evidence.Skip, "time is over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := new(Notes)
			f := outOfReach(c.ctx, n, c.addresses)
			if saw := strings.Join(n.lines, "\n"); f.outcome != c.want || !strings.Contains(saw, c.saw) || len(n.lines) != len(c.addresses) {
				t.Fatalf("%s %q, want %s and %q:\n%s", f.outcome, f.detail, c.want, c.saw, saw)
			}
		})
	}
}

func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// refuses is a port that is bound and doesn't listen.
func refuses(t *testing.T) string {
	t.Helper()
	_, address := bound(t)
	return address
}

// silentPort drops who comes: its queue is full, and nobody accepts (listen(2)).
func silentPort(t *testing.T) string {
	t.Helper()
	fd, address := bound(t)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address) // a queue of 0 holds one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return address
}

func bound(t *testing.T) (fd int, address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}
