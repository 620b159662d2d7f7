package resp_test

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestFaultsAreTheEnginesOwn sends malformed commands to a real engine and
// compares its error reply with ours, byte for byte.
func TestFaultsAreTheEnginesOwn(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", "port 0", "unixsocket "+socket, `save ""`, "requirepass pw")

	streams := []string{
		"*abc\r\n", "*\r\n", "*01\r\n", "*+1\r\n", "*1 \r\n", "*-\r\n", "*2147483648\r\n", "*9223372036854775808\r\n",
		"*1\r\n$-1\r\n", "*1\r\n$-2\r\n\r\n", "*1\r\n$9223372036854775807\r\n", "*1\r\n$536870913\r\n", "*1\r\n$x\r\n", "*1\r\n$\r\n", "*1\r\n$00\r\n",
		"*2\r\n$4\r\nECHO\r\n:1\r\n", "*2\r\n$4\r\nECHO\r\n\r\n\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n*1\r\n",
		"SET \"a\r\n", "SET 'a\r\n", "ECHO \"a\"b\r\n",
		strings.Repeat("a", resp.MaxInline+1), "*" + strings.Repeat("1", resp.MaxInline), "*1\r\n$" + strings.Repeat("1", resp.MaxInline),
		"PING\r\n\r\n*0\r\n*-1\r\n \r\n*-7\r\nPING\r\n*x\r\n",
	}
	for c := range 256 {
		if c != 0 && c != '$' { // strchr: a NUL hides the line, so the engine waits
			streams = append(streams, "*1\r\n"+string([]byte{byte(c)})+"4\r\nPING\r\n")
		}
	}
	for _, stream := range streams {
		want := ask(t, socket, "AUTH pw\r\n"+stream)
		if got := judge(stream, true); "+OK\r\n"+got != want {
			t.Errorf("%.60q:\n  ours %q\nengine %q", stream, got, want)
		}
	}
	argument := "$16384\r\n" + strings.Repeat("x", 16384) + "\r\n"
	for _, stream := range []string{"*11\r\n", "*1\r\n$16385\r\n", "*11x\r\n", "*10\r\n" + argument + "*\r\n"} {
		want := ask(t, socket, stream)
		if got := judge(stream, false); got != want {
			t.Errorf("unauthenticated %.60q:\n  ours %q\nengine %q", stream, got, want)
		}
	}
}

// judge is what a session would answer: a pong for each PING, and the fault.
func judge(stream string, authenticated bool) string {
	var out []byte
	got := scanCommands(&resp.CommandScanner{Authenticated: authenticated}, []byte(stream), []int{len(stream)})
	for _, frame := range got.frames {
		fault := error(nil)
		if frame[0] != '*' {
			_, fault = resp.AppendInline(nil, []byte(frame))
		}
		if fault != nil {
			return string(resp.AppendError(out, "ERR Protocol error: "+fault.Error()))
		}
		if strings.HasPrefix(frame, "PING") {
			out = resp.AppendSimple(out, "PONG")
		}
	}
	if got.end == resp.Malformed {
		out = resp.AppendError(out, "ERR Protocol error: "+got.fault)
	}
	return string(out)
}

// ask sends a stream and returns what is answered until the engine closes.
func ask(t *testing.T, socket, stream string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, stream); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%.60q: %v after %q: the engine did not take it for malformed", stream, err, out)
	}
	return string(out)
}
