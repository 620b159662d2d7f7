//go:build engines

package command

import (
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestFactsAreTheEnginesOfEveryRelease does what TestFactsAreTheEngines does
// for engines of other releases, each on a throwaway host of its own.
//
//	CGO_ENABLED=0 go test -tags engines ./internal/command
func TestFactsAreTheEnginesOfEveryRelease(t *testing.T) {
	for _, name := range []string{"redis-7.0", "valkey-8.0", "redis-8.0", "valkey-8.1"} {
		t.Run(name, func(t *testing.T) {
			b := lab.Engine(t, name)
			port := freePort(t)
			cmd := exec.CommandContext(t.Context(), b.Path, "--port", port, "--bind", "127.0.0.1", "--save", "")
			cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{"LC_ALL=C"}, &syscall.SysProcAttr{Chroot: b.Root}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			buf := make([]byte, 4096)
			for !strings.Contains(said.String(), "eady to accept connections") {
				n, err := out.Read(buf)
				if err != nil {
					t.Fatalf("the engine ended: %s", said.String())
				}
				said.Write(buf[:n])
			}
			holdAgainst(t, "tcp", "127.0.0.1:"+port)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // "signal: killed"
		})
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
