package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrNotRunning says that nobody serves the socket.
var ErrNotRunning = errors.New("not running")

// Ask asks the process at a socket for its report; facts is where its Facts go. Who it
// is, PID, the kernel tells; all else is its own word.
func Ask(ctx context.Context, socket string, facts any) (Report, error) {
	report := Report{Facts: facts}
	pid, err := call(ctx, socket, http.MethodGet, "/status", answerWithin, &report)
	report.PID = pid
	return report, err
}

// Call asks the process at a socket for something else that it serves
// (Server.Further).
func Call(ctx context.Context, socket, method, path string, answer any) error {
	_, err := call(ctx, socket, method, path, answerWithin, answer)
	return err
}

// Order has the process at a socket do something (Server.Orders), which may take as long
// as obeyWithin.
func Order(ctx context.Context, socket, path string, answer any) error {
	_, err := call(ctx, socket, http.MethodPost, path, obeyWithin, answer)
	return err
}

func call(ctx context.Context, socket, method, path string, within time.Duration, answer any) (pid int, err error) {
	var peer atomic.Int64 // the transport dials on a goroutine of its own
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			address, release, err := shortAddress(socket)
			if err != nil {
				return nil, err
			}
			defer release()
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address)
			if err != nil {
				return nil, err
			}
			pid, _, err := peerOf(conn)
			if err != nil {
				conn.Close()
				return nil, err
			}
			peer.Store(int64(pid))
			return conn, nil
		},
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://redoubt"+path, nil)
	if err != nil {
		return 0, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return 0, fmt.Errorf("%s: %w", socket, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return 0, fmt.Errorf("%s: root and that process's user alone may ask it (sudo): %w", socket, fs.ErrPermission)
	case err != nil:
		return 0, fmt.Errorf("%s: %w", socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReport))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", socket, err)
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: it answers %s: %s", socket, response.Status, strings.TrimSpace(string(body[:min(len(body), maxCause)])))
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return 0, fmt.Errorf("%s: its answer can't be read (another version?): %w", socket, err)
	}
	return int(peer.Load()), nil
}

// maxCause is how much of an error's text is passed on.
const maxCause = 300
