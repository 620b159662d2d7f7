package enroll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/part"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// Role is what main hands to the sandbox: the process is called redoubt-signer.
func Role() sandbox.Role { return sandbox.Role{Name: signerName, Run: sign} }

const signerName = "signer"

// SignerOptions say what a signer is for.
type SignerOptions struct {
	Dir    string        // the CA's
	Make   string        // the deployment of the CA that is made there, if there is none; "": none is
	Unlock pki.Unlock    // asked at each start, and passed on; nil: its keys are in plain
	Own    []identity.ID // the hosts of the process that starts it, which get certificates at its word
	Life   time.Duration // of certificates; 0 is the CA's own default
	Log    *slog.Logger
}

// Signer is the end of it in the process that starts it, and starts another when it ends.
// One question is asked at a time.
type Signer struct {
	options SignerOptions

	asking sync.Mutex // one question at a time

	mu      sync.Mutex // of what follows
	conn    net.Conn   // nil while there is none
	process *part.Process
	end     func() // ends it
	since   time.Time
	again   int // times that it was started since the first

	// Of the CA, as it was at the start.
	Deployment string
	Locked     bool
}

// errAway says that the CA can't be asked just now.
var errAway = errors.New("the CA's process has ended and is being started again: try again")

// StartSigner starts one. It goes on only as long as Run runs, or Close is called.
func StartSigner(o SignerOptions) (*Signer, error) {
	s := &Signer{options: o}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

const (
	startTimeout = time.Minute // keys may have to be decrypted, and another process may hold the directory
	firstPause   = 100 * time.Millisecond
	mostPause    = 5 * time.Second // hosts that join ask again for longer (askAgain)
)

// start starts the process, which belongs to whom the CA's directory belongs to, and
// tells it what it is for.
func (s *Signer) start() error {
	if s.options.Make != "" {
		if err := os.MkdirAll(s.options.Dir, 0o700); err != nil {
			return fmt.Errorf("the CA's process: %w", err)
		}
	}
	info, err := os.Stat(s.options.Dir)
	if err != nil {
		return fmt.Errorf("the CA's process: %w", err)
	}
	order := settings{Dir: s.options.Dir, Make: s.options.Make, Life: s.options.Life}
	for _, id := range s.options.Own {
		order.Own = append(order.Own, id.String())
	}
	if s.options.Unlock != nil {
		if order.Passphrase, err = s.options.Unlock(); err != nil {
			order.NoPassphrase = err.Error()
		}
		defer clear(order.Passphrase)
	}
	p := sandbox.Part{Name: signerName, UID: -1, GID: -1, Isolate: sandbox.Probe().Namespaces, Write: []string{s.options.Dir}, Descriptors: signerFiles}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		p.UID, p.GID = int(st.Uid), int(st.Gid)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return fmt.Errorf("the CA's process: %w", err)
	}
	process, err := part.Start(p, s.options.Log, theirs)
	theirs.Close()
	if err != nil {
		ours.Close()
		return fmt.Errorf("the CA's process: %w", err)
	}
	a, err := exchange(ours, startTimeout, order)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		ours.Close()
		process.Kill()
		if end := process.End(); end != nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
			err = end
		}
		return fmt.Errorf("the CA's process: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.again++
	}
	s.since = time.Now()
	s.conn, s.process, s.end, s.Deployment, s.Locked = ours, process, process.Kill, a.Deployment, a.Locked
	return nil
}

// signerFiles bounds what it may have open: it reads one file after the other.
const signerFiles = 64

// socketPair is our end, and the file for the other.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock() // no other child inherits them: not every system takes SOCK_CLOEXEC
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "signer"), os.NewFile(uintptr(fds[1]), "owner")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// Run has another process take the place of one that ends, until ctx ends. It never
// fails: what goes wrong is in the log, and what is in use stays in use.
func (s *Signer) Run(ctx context.Context) {
	next := firstPause
	for {
		s.mu.Lock()
		process := s.process
		s.mu.Unlock()
		began := time.Now()
		select {
		case <-process.Done():
		case <-ctx.Done():
			s.Close()
			return
		}
		s.hangUp()
		if time.Since(began) > mostPause {
			next = firstPause
		}
		s.options.Log.Error("the CA's process has ended, another is started: until then no host enrols or renews", "cause", process.End())
		for {
			if !pause(ctx, next) {
				return
			}
			next = min(2*next, mostPause)
			err := s.start()
			if err == nil {
				break
			}
			s.options.Log.Error("the CA's process can't be started, it is tried again", "cause", err)
		}
	}
}

// Close ends it.
func (s *Signer) Close() {
	s.hangUp()
	s.mu.Lock()
	end := s.end
	s.mu.Unlock()
	end()
}

// SignerStatus is what can be told of the CA's process.
type SignerStatus struct {
	Up       bool      `json:"up" metric:"redoubt_signer_up" help:"1 while the process that has the CA's key runs; without it no host enrols or renews."`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Restarts int       `json:"restarts" metric:"redoubt_signer_restarts_total" help:"Times that the process that has the CA's key ended and was started again."`
}

// Status may be called by any goroutine.
func (s *Signer) Status() SignerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return SignerStatus{Restarts: s.again}
	}
	return SignerStatus{Up: true, PID: s.process.PID(), Since: s.since, Restarts: s.again}
}

func (s *Signer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// ask asks the process. An answer that is an error is one for strangers.
func (s *Signer) ask(q question) (*answer, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	s.mu.Lock()
	conn, end := s.conn, s.end
	s.mu.Unlock()
	if conn == nil {
		return nil, errAway
	}
	a, err := exchange(conn, exchangeTimeout, q)
	if err != nil { // what comes next could be the answer to this
		s.hangUp()
		end()
		return nil, errAway
	}
	return a, nil
}

func exchange(conn net.Conn, patience time.Duration, q any) (*answer, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := send(conn, q); err != nil {
		return nil, err
	}
	a := new(answer)
	if err := receive(conn, maxAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

// sign is the process.
func sign() int {
	log := part.Log(slog.LevelInfo)
	conn, err := net.FileConn(os.NewFile(sandbox.FirstFile, "owner"))
	if err == nil {
		err = signFor(conn, log)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		log.Error("the CA's process ends", "cause", err)
		return 1
	}
	return 0
}

// signFor opens the CA as it is told to, and serves.
func signFor(conn net.Conn, log *slog.Logger) error {
	var order settings
	if err := receive(conn, maxQuestion, &order); err != nil {
		return err
	}
	s, err := newSigner(&order, log)
	if err != nil {
		return send(conn, answer{Error: err.Error()})
	}
	if err := send(conn, answer{Deployment: s.ca.Deployment(), Locked: s.ca.Locked()}); err != nil {
		return err
	}
	return s.serve(conn)
}

func newSigner(order *settings, log *slog.Logger) (*signer, error) {
	s := &signer{tokens: OpenTokens(order.Dir), life: order.Life, log: log}
	var unlock pki.Unlock
	switch {
	case order.NoPassphrase != "":
		unlock = func() ([]byte, error) { return nil, errors.New(order.NoPassphrase) }
	case order.Passphrase != nil:
		unlock = func() ([]byte, error) {
			s.unlocked++
			return order.Passphrase, nil
		}
	}
	for _, text := range order.Own {
		id, err := identity.Parse(text)
		if err != nil {
			return nil, err
		}
		s.own = append(s.own, id)
	}
	var err error
	s.ca, err = pki.Open(order.Dir, unlock)
	if order.Make != "" && errors.Is(err, pki.ErrNoCA) {
		s.ca, err = pki.Create(order.Dir, order.Make, pki.Options{})
	}
	s.unlocked = 0
	return s, err
}

// Torn says whether a part of the CA in a directory is missing.
func Torn(dir string) bool {
	for _, name := range []string{"ca.crt", "ca.key", "issued"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
