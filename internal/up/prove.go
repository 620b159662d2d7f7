package up

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

// pingPause is between two attempts of Await; a cache that is there answers in a
// millisecond.
const pingPause = 100 * time.Millisecond

// Await returns nil when the cache answers Ping; at ctx's end, why it last didn't.
func Await(ctx context.Context, sidecar, password string) error {
	pause := time.NewTicker(pingPause)
	defer pause.Stop()
	for last := error(nil); ; {
		err := Ping(ctx, sidecar, password)
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) { // which may be only our own end of time
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-pause.C:
		}
	}
}
