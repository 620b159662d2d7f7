//go:build slow && linux

// Package scale_test is what Redoubt does with much of everything: thousands of
// connections, hosts, megabytes, and hours.
//
// The benchmarks print what docs/performance.md quotes; one iteration is a whole
// measurement, so give -benchtime 1x:
//
//	go test -tags slow -run NONE -bench . -benchtime 1x ./test/scale
//
// The soak is a test, for as long as its flag says. It fails when one reply is
// wrong, or when memory, goroutines or open files grow:
//
//	go test -tags slow -run Soak -timeout 0 ./test/scale -soak 1h
//
// What is measured are the product's own commands, in processes of their own:
// this binary, started again, with a probe beside the command line that tells of
// the heap and the goroutines, which nobody can see from outside (probe_test.go).
// All of it is on loopback.
package scale_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/cli"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main(front.Role()) // an engine's process is this binary until it has locked itself down
	if err := allowFiles(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch socket, crowd := os.Getenv(probeVariable), os.Getenv(crowdVariable); {
	case socket != "":
		if err := answerOn(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case crowd != "":
		os.Exit(beCrowd(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// allowFiles raises the limit on open files as far as it goes, for this process
// and its children.
func allowFiles() error {
	const need = 12_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur = limit.Max; limit.Cur < need {
		return fmt.Errorf("%d open files are needed, and the limit is %d: raise it (ulimit -Hn)", need, limit.Max)
	}
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
