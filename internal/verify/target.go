package verify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	table "github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Target is the deployment as it is seen from here. What isn't on this host, or not
// known, is nil.
type Target struct {
	Vantage    evidence.Vantage
	Deployment string
	Host       string // its name in the deployment, or its hostname

	Cache  *Cache             // this is the cache host
	App    *App               // this is an application host
	Hosts  *config.Deployment // deployment.yaml
	Filter *firewall.Rules    // this host's packet filter, as deployment.yaml makes it
	Doors  []tunnel.Endpoint  // where the gateways' tunnels are reached from here

	// An outsider's: what the deployment's hosts told of themselves, the newest first,
	// whether it was looked at that they have signed it, and HOST:PORT that must answer it.
	Reports       []*evidence.Report
	Authenticated bool
	Controls      []string

	JudgeHost  bool                 // with OneMachine, the machine's own settings too
	Exceptions []evidence.Exception // failures that somebody has accepted

	// Asked once in a run.
	audited memo[engine.Audit]
	guest   memo[engine.Guest]
	reached memo[struct{}] // the doors
	ssh     memo[*host.SSH]
	found   memo[records] // of the CA

	controlled memo[string] // the controls
}

// memo is what came of asking, the first time.
type memo[T any] struct {
	asked bool
	value T
	err   error
}

func (m *memo[T]) get(ask func() (T, error)) (T, error) {
	if !m.asked {
		m.asked = true
		m.value, m.err = ask()
	}
	return m.value, m.err
}

// Cache is a cache host.
type Cache struct {
	PID          int            // of the gateway's process
	Front        int            // of the process that it started, which faces the network
	Listen       string         // where the tunnel is to be, HOST:PORT
	Told         string         // where the process says that it is; "": it wasn't asked
	Metrics      string         // where the metrics are; "": nowhere
	Admit        []netip.Prefix // who may connect at all; none: everybody
	Certificates tunnel.Files   // of the gateway
	Rules        []tunnel.Rule  // for certificates of another CA
	CA           string         // the CA's directory; "": elsewhere
	Unlock       pki.Unlock     // gives its passphrase; nil: it has none
	Secrets      []string       // every file of this role that others mustn't read
	Trusted      []string       // and mustn't write
	Digests      string         // the passwords' file
	Config       string         // the configuration file; "": not known, or there is none (redoubt up)
	Fingerprint  string         // of the configuration file as it is; "": there is none
	Running      string         // of the one that the process has read

	// What the running gateway answers, over its admin socket; an error says why not.
	Audit    func(context.Context) (engine.Audit, error)
	NewGuest func(context.Context) (engine.Guest, error)
	Dismiss  func(ctx context.Context, user string) error
}

// App is an application host.
type App struct {
	PID          int
	Listen       string       // where the application finds its Redis; "": nobody knows
	Bound        string       // the address that the sidecar is to be bound to
	Told         string       // that it says it is bound to; "": it wasn't asked
	Metrics      string       // where the metrics are; "": nowhere
	Password     string       // the application's; "": not known here
	NoPassword   string       // why it isn't known
	Certificates tunnel.Files // of the sidecar
	Rules        []tunnel.Rule
	Secrets      []string
	Trusted      []string
	Config       string
	Fingerprint  string
	Running      string
}

// Needs that several checks share.

// needRoot: what belongs to other users can't be looked at.
func needRoot(context.Context, *Target) string {
	if os.Geteuid() != 0 {
		return "needs root: what belongs to the engine's user can't be looked at by another one (sudo redoubt verify)"
	}
	return ""
}

// needEngine: the gateway runs, and with it the engine, and tells of it.
func needEngine(ctx context.Context, t *Target) string {
	if _, err := t.audit(ctx); err != nil {
		return fmt.Sprintf("needs the running gateway and its engine: %v", err)
	}
	return ""
}

// needGuest: a user of the engine with the application's rights can be had.
func needGuest(ctx context.Context, t *Target) string {
	if _, err := t.newGuest(ctx); err != nil {
		return fmt.Sprintf("needs the running gateway, which makes a user to attack as: %v", err)
	}
	return ""
}

// needPassword: the application's password is known.
func needPassword(_ context.Context, t *Target) string {
	if t.App == nil || t.App.Password == "" {
		reason := "this is no application host"
		if t.App != nil {
			reason = t.App.NoPassword
		}
		return "needs the application's password: " + reason
	}
	return ""
}

// needHosts: the deployment's file is named.
func needHosts(_ context.Context, t *Target) string {
	if t.Hosts == nil {
		return noHosts
	}
	return ""
}

const noHosts = "which hosts there are stands in the deployment's file: name it with --deployment"

// needDoor: a gateway's tunnel can be reached.
func needDoor(ctx context.Context, t *Target) string {
	if len(t.Doors) == 0 {
		return "needs the address of a gateway (--deployment FILE)"
	}
	_, err := t.reached.get(func() (struct{}, error) {
		for _, door := range t.Doors {
			conn, err := reachDoor(ctx, door.Address)
			if err != nil {
				return struct{}{}, err
			}
			conn.Close()
			from, err := netip.ParseAddrPort(conn.LocalAddr().String())
			if err == nil && t.Cache != nil && !admits(t.Cache.Admit, from.Addr().Unmap()) {
				return struct{}{}, fmt.Errorf("%s admits no connection from %s, this host itself (admit): what would be tried never gets as far; run redoubt verify on an application host, or admit this address", door.Address, from.Addr())
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		return err.Error()
	}
	return ""
}

// errNoGateway is why there is nothing to ask.
var errNoGateway = errors.New("no gateway on this host")

// admits says whether a gateway takes connections from an address at all.
func admits(networks []netip.Prefix, from netip.Addr) bool {
	return len(networks) == 0 || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

// audit is what the engine says of itself.
func (t *Target) audit(ctx context.Context) (engine.Audit, error) {
	return t.audited.get(func() (engine.Audit, error) {
		if t.Cache == nil || t.Cache.Audit == nil {
			return engine.Audit{}, errNoGateway
		}
		return t.Cache.Audit(ctx)
	})
}

// auditing is a check's Run that judges what the engine says of itself.
func auditing(judge func(a engine.Audit, n *Notes) Finding) func(context.Context, *Target, *Notes) Finding {
	return func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		return judge(a, n)
	}
}

// attacking is a check's Run that sends commands to the engine as a user with the
// application's rights.
func attacking(attack func(c *conversation, a engine.Audit, n *Notes) Finding) func(context.Context, *Target, *Notes) Finding {
	return func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		c, err := t.asGuest(ctx)
		if err != nil {
			return n.Fail("as a user with the application's rights: %v", err)
		}
		defer c.close()
		return attack(c, a, n)
	}
}

// asGuest connects to the engine's socket as a user with the application's rights.
func (t *Target) asGuest(ctx context.Context) (*conversation, error) {
	g, err := t.newGuest(ctx)
	if err != nil {
		return nil, err
	}
	return converse(ctx, "unix", g.Socket, g.User, g.Password)
}

func (t *Target) newGuest(ctx context.Context) (engine.Guest, error) {
	return t.guest.get(func() (engine.Guest, error) {
		if t.Cache == nil || t.Cache.NewGuest == nil {
			return engine.Guest{}, errNoGateway
		}
		return t.Cache.NewGuest(ctx)
	})
}

// asApplication connects to the sidecar with the application's password, and says who it
// is: a person who reads what applications were refused should not find our attacks there.
func (t *Target) asApplication(ctx context.Context) (*conversation, error) {
	c, err := converse(ctx, "tcp", t.App.Listen, "", t.App.Password)
	if err != nil {
		return nil, err
	}
	if _, err := c.do("CLIENT", "SETINFO", "LIB-NAME", table.Prover); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// end dismisses the guest, if there is one; who is not dismissed goes by itself in
// two minutes.
func (t *Target) end() {
	if t.guest.asked && t.guest.err == nil {
		t.Cache.Dismiss(context.Background(), t.guest.value.User)
	}
	t.guest, t.audited, t.reached = memo[engine.Guest]{}, memo[engine.Audit]{}, memo[struct{}]{}
	t.ssh, t.found, t.controlled = memo[*host.SSH]{}, memo[records]{}, memo[string]{}
}
