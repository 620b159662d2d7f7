package lab

import (
	"bufio"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Plain starts an engine as it comes, with no rule of ours: the control that
// tells what the lock changes. Each directive is a line of redis.conf. It
// returns when the engine accepts connections; the engine ends with the test.
func Plain(t testing.TB, server string, directives ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), server, "-")
	cmd.Stdin = strings.NewReader(strings.Join(directives, "\n") + "\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("lab: starting %s: %v (apt-get install redis-server)", server, err)
	}

	var said strings.Builder // what the engine wrote, complete once ended is closed
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tellReady := sync.OnceFunc(func() { close(ready) })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if strings.Contains(strings.ToLower(lines.Text()), "ready to accept connections") {
				tellReady()
			}
		}
	}()
	t.Cleanup(func() { // by then the test's context is cancelled, so the engine is being killed
		<-ended
		_ = cmd.Wait() // "signal: killed"
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("lab: %s ended before it was ready:\n%s", server, said.String())
	}
}
