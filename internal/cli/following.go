package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// A process that stays follows its configuration's file when it is asked to: by redoubt
// reload over its admin socket, or by SIGHUP. All of the file is read and checked before
// anything changes; what the tags of the schema say can change does then, all of it or
// nothing. What is in force is in memory only, so there is nothing that could be left
// half done: a process that is killed meanwhile begins with the file, whole.

// following is a process's configuration in force, and the way to another.
type following struct {
	file   string
	report *reporter
	log    *slog.Logger
	read   func() (*plan, error)

	one sync.Mutex // at a time
}

// plan is another configuration that was read and checked.
type plan struct {
	changes []config.Change
	apply   func(context.Context) error
}

// reloadPath is where redoubt reload asks.
const reloadPath = "/reload"

// reloaded is what it is answered.
type reloaded struct {
	File    string          `json:"file"`
	DryRun  bool            `json:"dry_run"`
	Changed []config.Change `json:"changed"` // is in force, or would be
	// Waiting are the keys that only a restart takes in, and Restart the least that must
	// be restarted, with what that costs.
	Waiting     []config.Change `json:"waiting"`
	Restart     string          `json:"restart,omitempty"`
	Fingerprint string          `json:"configuration"` // of what is in force
	// Error says why nothing has changed, and Exit what redoubt reload ends with then.
	Error string `json:"error,omitempty"`
	Exit  int    `json:"exit,omitempty"`
}

// orders are what the admin socket takes; a process without a file says so.
func (f *following) orders() map[string]func(*http.Request) (any, error) {
	return map[string]func(*http.Request) (any, error){reloadPath: func(r *http.Request) (any, error) {
		if f == nil {
			return nil, errors.New("redoubt up has no configuration file: its flags are its configuration, and a start takes others in")
		}
		return f.reload(r.Context(), r.URL.Query().Has("dry-run")), nil
	}}
}

// part has SIGHUP do the same.
func (f *following) part() daemon.Part {
	return daemon.Part{Name: "configuration",
		Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return nil
		},
		Hangup: func(ctx context.Context) { f.reload(ctx, false) },
	}
}

// reloadWithin bounds the wait for an engine that can't be told anything just now.
const reloadWithin = 30 * time.Second

// reload reads the file, puts in force what it can, and logs what came of it. Who comes
// meanwhile waits.
func (f *following) reload(ctx context.Context, dry bool) (a reloaded) {
	f.one.Lock()
	defer f.one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	a = reloaded{File: f.report.file, DryRun: dry, Changed: []config.Change{}, Waiting: []config.Change{}}
	defer func() { a.Fingerprint = *f.report.fingerprint.Load() }()
	p, err := f.read()
	if err == nil && !dry && p.follows() {
		err = p.apply(ctx)
	}
	if err != nil {
		a.Error, a.Exit = err.Error(), exitCode(err)
		if !dry {
			f.log.Error("the configuration was not taken in: what was in force stays", "file", f.file, "cause", err)
		}
		return a
	}
	var changed, waiting []string
	for _, c := range p.changes {
		if c.Restart == "" {
			a.Changed = append(a.Changed, c)
			changed = append(changed, c.Key)
			continue
		}
		a.Waiting = append(a.Waiting, c)
		waiting = append(waiting, c.Key)
	}
	if len(waiting) > 0 {
		a.Restart = nextStart(f.report.role)
	}
	if !dry {
		f.log.Info("the configuration was read anew", "file", f.file, "changed", changed, "needs_a_restart", waiting)
	}
	return a
}

// follows says whether there is anything that can be taken in.
func (p *plan) follows() bool {
	for _, c := range p.changes {
		if c.Restart == "" {
			return true
		}
	}
	return false
}

// followGateway is a gateway's.
func followGateway(file string, conf *config.Gateway, eng *engine.Engine, gw *front.Front, report *reporter, log *slog.Logger) *following {
	report.names(file, conf)
	return &following{file: file, report: report, log: log, read: func() (*plan, error) {
		after, err := loadGateway(file)
		if err != nil {
			return nil, misconfigured(err)
		}
		next, err := config.FollowGateway(file, conf, after)
		if err != nil {
			return nil, misconfigured(err)
		}
		policy := engineOptions(next.Engine).Policy
		if err := policy.Suits(); err != nil {
			return nil, misconfigured(err)
		}
		target, err := gatewayTarget(next)
		if err != nil {
			return nil, misconfigured(err)
		}
		apply := func(ctx context.Context) error {
			// The engine first: of all steps it alone can refuse.
			was := engineOptions(conf.Engine).Policy
			if !reflect.DeepEqual(was, policy) {
				if err := eng.Change(ctx, policy); err != nil {
					return err
				}
			}
			if err := gw.Change(gatewaySettings(next)); err != nil {
				return errors.Join(err, eng.Change(context.WithoutCancel(ctx), was))
			}
			conf = next
			report.inForce(conf, target, conf.Exceptions)
			return nil
		}
		return &plan{config.Changes(conf, after), apply}, nil
	}}
}

// followSidecar is a sidecar's.
func followSidecar(file string, conf *config.Sidecar, sc *sidecar.Sidecar, report *reporter, log *slog.Logger) *following {
	report.names(file, conf)
	return &following{file: file, report: report, log: log, read: func() (*plan, error) {
		after, err := config.LoadSidecar(file)
		if err != nil {
			return nil, misconfigured(err)
		}
		next, err := config.FollowSidecar(file, conf, after)
		if err != nil {
			return nil, misconfigured(err)
		}
		target, err := sidecarTarget(next)
		if err != nil {
			return nil, misconfigured(err)
		}
		apply := func(context.Context) error {
			sc.Change(sidecarSettings(next))
			conf = next
			report.inForce(conf, target, conf.Exceptions)
			return nil
		}
		return &plan{config.Changes(conf, after), apply}, nil
	}}
}

// inForce has a process tell of its configuration, and check itself by it.
func (r *reporter) inForce(configuration any, target *verify.Target, accepted []config.Exception) {
	r.tells(configuration)
	r.watchAnew(target, accepted)
}
