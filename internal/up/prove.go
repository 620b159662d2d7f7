package up

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// proveTimeout bounds the proof: the engine has just answered its supervisor.
const proveTimeout = 5 * time.Second

// Ping asks for a PING as an application does: at the sidecar's address, with the
// password. The answer comes from the engine, through both ends of the tunnel.
func Ping(ctx context.Context, sidecar, password string) error {
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", sidecar)
	if err != nil {
		return fmt.Errorf("no answer through the sidecar: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n", len(password), password); err != nil {
		return fmt.Errorf("no answer through the sidecar: %w", err)
	}
	replies := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "+PONG\r\n"} {
		got, err := replies.ReadString('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("no answer through the sidecar: %w", err)
		}
		if got != want {
			// An error's first word is its code, and no data.
			code, _, _ := strings.Cut(strings.TrimSpace(got), " ")
			return fmt.Errorf("the cache answered %q where %q belongs", code, strings.TrimSpace(want))
		}
	}
	return nil
}
