// Package admin is where a running process tells what it is and how it fares: a
// unix socket for "redoubt status", and metrics for a monitoring system.
//
// The subcommands that stay run a Server beside their roles and give it a
// Report; Ask is the other end. What is told are counts, times, names and states,
// never a key, a value or a password of the cache.
//
// It serves over HTTP/1.1:
//
//	GET /status   the report as JSON
//	GET /metrics  its numbers, in Prometheus's text format (metrics.go)
//	GET /livez    200 as long as the process works
//	GET /readyz   200 if it can serve, 503 if not (a cache that is away is no
//	              reason: restarting the application's host brings it back no sooner)
//
// and what its owner adds to it (Server.Further), for "redoubt verify", or takes as an
// order (Server.Orders), for "redoubt reload".
//
// The socket is as open as its file's mode, 0600: its owner and root. Of orders the
// kernel is asked besides who gives them, in case that somebody has opened the file to
// others. On a TCP address, if there is one, only the last three are served. Nothing of
// this package changes anything.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Report is what a process tells. Facts is a struct, or a pointer to one, whose
// fields have json and metric tags (metrics.go).
type Report struct {
	Problems []string `json:"problems"` // what somebody should look at, a sentence each
	Ready    bool     `json:"ready"`    // it can serve
	Facts    any      `json:"facts"`
	PID      int      `json:"-"` // who answered, as the kernel says; set by Ask. 0: it can't be seen from here
}

// Server answers. Socket and Report are required.
type Server struct {
	Socket  string // path; what is there of a process that died is replaced
	Metrics string // HOST:PORT of a second listener, without /status; "": none
	Report  func(context.Context) Report
	Log     *slog.Logger

	// Further is what the socket serves besides: by pattern, such as "GET /audit",
	// what gives the answer's JSON.
	Further map[string]func(*http.Request) (any, error)

	// Orders are the same, of what changes something: by path. They are taken from root
	// and this process's own user alone, and may take obeyWithin.
	Orders map[string]func(*http.Request) (any, error)
}

// Bounds: a report is made in memory, quickly.
const (
	answerWithin = 5 * time.Second
	obeyWithin   = time.Minute // more than all that an engine may take to be told
	maxReport    = 1 << 20
)

// Run serves until ctx ends. A socket that can't be opened is an error.
func (s *Server) Run(ctx context.Context, ready func()) error {
	listener, remove, err := listenUnix(s.Socket)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	defer remove()
	listeners, muxes := []net.Listener{listener}, []*http.ServeMux{s.mux(true)}
	if s.Metrics != "" {
		tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Metrics)
		if err != nil {
			listener.Close()
			return fmt.Errorf("admin: metrics: %w", err)
		}
		listeners, muxes = append(listeners, tcp), append(muxes, s.mux(false))
	}
	ended := make(chan error, len(listeners))
	var servers []*http.Server
	for i, l := range listeners {
		server := &http.Server{
			Handler: muxes[i], ReadTimeout: answerWithin, WriteTimeout: answerWithin, MaxHeaderBytes: 4 << 10, ConnContext: withPeer,
			ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		}
		servers = append(servers, server)
		go func() { ended <- server.Serve(l) }()
	}
	ready()
	left := len(listeners)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ended:
		err = fmt.Errorf("admin: %w", err)
		left--
	}
	for _, server := range servers {
		server.Close()
	}
	for range left {
		<-ended
	}
	return err
}

// peerKey is where a connection's peer is in its requests' context.
type peerKey struct{}

// withPeer adds who is at the other end of a unix socket.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if _, ok := conn.(*net.UnixConn); !ok {
		return ctx
	}
	_, uid, err := peerOf(conn)
	if err != nil {
		uid = -1
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// askedBy is the user who asks; -1: nobody knows.
func askedBy(r *http.Request) int {
	if uid, ok := r.Context().Value(peerKey{}).(int); ok {
		return uid
	}
	return -1
}

func reply(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Write(body) // who asked has gone, if this fails
}

func inJSON(mux *http.ServeMux, pattern string, answer func(*http.Request) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { answerInJSON(w, r, answer) })
}

func answerInJSON(w http.ResponseWriter, r *http.Request, answer func(*http.Request) (any, error)) {
	a, err := answer(r)
	var body []byte
	if err == nil {
		body, err = json.Marshal(a)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, "application/json", body)
}

func (s *Server) mux(whole bool) *http.ServeMux {
	mux := http.NewServeMux()
	if whole {
		inJSON(mux, "GET /status", func(r *http.Request) (any, error) { return s.Report(r.Context()), nil })
		for pattern, answer := range s.Further {
			inJSON(mux, pattern, answer)
		}
		for path, obey := range s.Orders {
			mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
				if uid := askedBy(r); uid != 0 && uid != os.Geteuid() {
					http.Error(w, "root and this process's own user alone may ask for that", http.StatusForbidden)
					return
				}
				// It answers when it is done. The end of the time to read would be taken for
				// that of whoever asks.
				until, connection := time.Now().Add(obeyWithin), http.NewResponseController(w)
				if err := errors.Join(connection.SetReadDeadline(until), connection.SetWriteDeadline(until)); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				answerInJSON(w, r, obey)
			})
		}
	}
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		reply(w, "text/plain; version=0.0.4; charset=utf-8", AppendMetrics(nil, s.Report(r.Context())))
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { reply(w, "text/plain", []byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !s.Report(r.Context()).Ready {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		reply(w, "text/plain", []byte("ready\n"))
	})
	return mux
}

// listenUnix opens the socket, also below a directory whose path is longer than
// the 107 bytes that an address holds (unix(7)).
func listenUnix(path string) (_ net.Listener, remove func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, err
	}
	address, release, err := shortAddress(path)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if conn, err := net.DialTimeout("unix", address, answerWithin); err == nil {
		conn.Close()
		return nil, nil, fmt.Errorf("%s is served by another process already", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, nil, fmt.Errorf("%s is there and not a socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// The address is another one when it ends, so it is removed by its path.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, nil, err
	}
	return listener, func() { os.Remove(path) }, nil
}

// shortAddress names a socket through an open descriptor of its directory.
func shortAddress(path string) (address string, release func(), err error) {
	const longest = 100
	if len(path) <= longest {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}
