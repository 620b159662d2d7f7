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
	"syscall"
)

// ErrNotRunning says that nobody serves the socket.
var ErrNotRunning = errors.New("not running")

// Ask asks the process at a socket for its report; facts is where its Facts go.
func Ask(ctx context.Context, socket string, facts any) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			address, release, err := shortAddress(socket)
			if err != nil {
				return nil, err
			}
			defer release()
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		},
	}
	report := Report{Facts: facts}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://redoubt/status", nil)
	if err != nil {
		return report, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return report, fmt.Errorf("%s: %w", socket, ErrNotRunning)
	case err != nil:
		return report, fmt.Errorf("%s: %w", socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReport))
	if err != nil {
		return report, fmt.Errorf("%s: %w", socket, err)
	}
	if response.StatusCode != http.StatusOK {
		return report, fmt.Errorf("%s: it answers %s", socket, response.Status)
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return report, fmt.Errorf("%s: its answer can't be read (another version?): %w", socket, err)
	}
	return report, nil
}
