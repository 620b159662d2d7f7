package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// Options is what an engine is made from.
type Options struct {
	Binary string       // path of the server; "" looks for redis-server, then valkey-server
	RunDir string       // an empty directory; "" makes one in memory and removes it at the end
	User   string       // whom it runs as; "" as root: redoubt-engine, else a free uid; not root: ourselves
	Policy Policy       // what the application may do
	Log    *slog.Logger // nil: slog.Default()

	// Passwords tells which passwords of the application are good now, at least
	// one. Run asks at each start and then each second, and the engine follows.
	Passwords func() []passwords.Digest
}

// Engine is a supervised redis-server or valkey-server.
type Engine struct {
	options Options
	path    string
	version Version
	id      identity
	rights  func(Policy) []string // of the application
	orders  chan order            // for the life that there is (change.go)

	auditing sync.Mutex // one audit, or change of the policy, at a time

	// The three steps of a start that tests replace: to open the engine's own
	// doors and see whether the sandbox alone holds, to take the sandbox away
	// and see that it was that, and to see what is withheld from our log.
	configuration func(secrets, []passwords.Digest) string
	command       func(sandbox.Spec) (*exec.Cmd, error)
	tap           func(io.Reader) io.Reader

	mu     sync.Mutex
	policy Policy // in force, or that the next life begins with
	socket string // "" when there is none
	pid    int    // 0 when not running
	secret secrets
	runDir string
	guests map[string]time.Time // by user, until when

	answers  bool
	since    time.Time // the present life's begin
	restarts int
}

// New finds the engine and asks it for its version; it starts nothing that
// stays. An error that is ErrEnvironment says that this machine has no engine
// that we can run; any other one that the options are wrong.
func New(o Options) (*Engine, error) {
	policy, warning, err := o.Policy.suits()
	if err != nil {
		return nil, err
	}
	if o.Passwords == nil || len(o.Passwords()) == 0 {
		return nil, errors.New("engine: the application has no password: an engine without one is never started")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	path, version, err := find(o.Binary)
	if err != nil {
		return nil, err
	}
	id, err := chooseIdentity(o.User)
	if err != nil {
		return nil, err
	}
	if warning != "" {
		o.Log.Warn(warning)
	}
	e := &Engine{
		options: o, path: path, version: version, id: id, policy: policy,
		rights:  func(p Policy) []string { return appRights(version, p) },
		orders:  make(chan order),
		command: sandbox.Command,
		tap:     func(r io.Reader) io.Reader { return r },
	}
	e.configuration = func(s secrets, good []passwords.Digest) string { return render(version, e.inForce(), good, s) }
	e.sabotage()
	return e, nil
}

// Version says which engine was found.
func (e *Engine) Version() Version { return e.version }

// PID is the engine's process, or 0 when it does not run.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pid
}

// Dial opens a connection to the engine's socket. It does not wait for an
// engine that is away.
func (e *Engine) Dial(ctx context.Context) (net.Conn, error) {
	e.mu.Lock()
	socket := e.socket
	e.mu.Unlock()
	if socket == "" {
		return nil, errNotRunning
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return conn, nil
}

// Run starts the engine, calls ready once when it answers, and keeps it running
// until ctx ends; then it stops it and returns nil. An engine that does not
// even start the first time is not going to: that is returned. Call it once.
func (e *Engine) Run(ctx context.Context, ready func()) (err error) {
	dir, err := prepareRunDir(e.options.RunDir, e.id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.remove()) }()

	var wait backoff
	var once sync.Once
	everReady := false
	for {
		born := time.Now()
		err := e.liveOnce(ctx, dir, func() {
			everReady = true
			once.Do(ready)
		})
		if ctx.Err() != nil {
			return nil
		}
		if !everReady {
			return fmt.Errorf("engine: %s at %s did not start: %w", e.version, e.path, err)
		}
		delay := wait.next(time.Since(born))
		e.countRestart()
		e.options.Log.Error("the engine is restarted; its data is gone", "cause", err, "in", delay)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

// liveOnce is one life of the engine, from an empty directory to a process
// that has been waited for. It says why the life ended.
func (e *Engine) liveOnce(ctx context.Context, dir runDir, ready func()) error {
	if err := dir.clearSocket(); err != nil {
		return err
	}
	secret, good := newSecrets(), e.options.Passwords()
	cmd, err := e.command(sandbox.Spec{
		// argv[0] says what the binary is: on Debian the path is a link to redis-check-rdb.
		Path: e.path, Args: []string{e.version.Product + "-server", "-"}, Dir: dir.path,
		UID: e.id.uid, GID: e.id.gid, Isolate: sandbox.Probe().Namespaces,
	})
	if err != nil {
		return unable("%w", err)
	}
	p, err := startProcess(cmd, e.configuration(secret, good), e.tap, e.options.Log)
	if err != nil {
		return err
	}
	e.setRunning(dir, cmd.Process.Pid, secret)
	defer e.setRunning(runDir{}, 0, secrets{})

	c, err := awaitAnswer(ctx, p, dir.socket(), secret.password)
	if err == nil {
		defer c.close()
		e.setAnswers()
		u := users{engine: e, control: c, secret: secret, policy: e.inForce(), good: e.options.Passwords, has: good, log: e.options.Log}
		ready()
		err = watch(ctx, p, c, duties{
			tend: func(ctx context.Context) error {
				if err := u.follow(ctx); err != nil {
					return err
				}
				return e.dismissLate(ctx, c, secret.acl)
			},
			orders: e.orders, obey: u.obey,
		})
	}
	p.stopFor(ctx)
	return e.report(p, dir, err)
}

func (e *Engine) setRunning(dir runDir, pid int, secret secrets) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.socket, e.runDir, e.pid, e.secret = "", dir.path, pid, secret
	e.guests = map[string]time.Time{}
	e.answers, e.since = false, time.Time{}
	if pid != 0 {
		e.socket, e.since = dir.socket(), time.Now()
	}
}

func (e *Engine) setAnswers() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers = true
}

func (e *Engine) countRestart() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restarts++
}
