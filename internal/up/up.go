// Package up is the whole deployment on one machine: CA, certificates and
// password in one directory, and the engine, gateway and sidecar over them.
//
// "redoubt up" calls New, which makes or finds the state and opens the ports,
// and runs its parts in this order: certificates, engine, gateway, sidecar. They are
// the very parts that real hosts run; only the place of their files differs,
// so that what works here works there.
//
// It guarantees that a second New on the same directory finds the same CA,
// certificates and password (a certificate that is due is issued anew), that
// two processes never share a directory, and that the password is in files of
// mode 0600 only. It starts nothing: the caller owns the parts' life.
//
// The tests in test/e2e run it as a user does.
package up

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/explain"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/secret"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Options says where the deployment lives.
type Options struct {
	Dir              string // state, made if missing
	Listen           string // the sidecar's address, for the application
	AllowNonLoopback bool   // Listen may be reachable by other hosts
	Unix             string // a unix socket for the application beside it, mode 0600; "": none
	Gateway          string // the gateway's address
	Binary           string // the engine; "" finds it
	Policy           engine.Policy
	Log              *slog.Logger
}

// Deployment is an opened deployment whose ports are taken.
type Deployment struct {
	Engine  *engine.Engine
	Gateway *front.Front
	Sidecar *sidecar.Sidecar

	certificates *certificates
	dir          *statedir.Dir
	url          string
}

// New makes or finds the deployment's state and opens its ports.
func New(o Options) (_ *Deployment, err error) {
	dir, err := statedir.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			dir.Close()
		}
	}()
	password, err := findPassword(dir)
	if err != nil {
		return nil, err
	}
	digests, err := secret.Follow(dir.Digests(), o.Log)
	if err != nil {
		return nil, err
	}
	d := &Deployment{dir: dir}
	d.Engine, err = engine.New(engine.Options{Binary: o.Binary, Passwords: digests.Good, Policy: o.Policy, Log: o.Log})
	if err != nil {
		return nil, err
	}
	c, err := findCertificates(dir, o.Log)
	if err != nil {
		return nil, err
	}
	d.certificates = c
	d.Gateway, err = front.New(front.Options{Options: gateway.Options{
		Settings: gateway.Settings{Limits: gateway.DefaultLimits(), Alone: o.Policy.Alone()},
		Listen:   o.Gateway, Credentials: c.server.Credentials, Dial: d.Engine.Dial, Log: o.Log,
		Enroll: c.ca.Enroll, Renew: c.ca.Renew,
	}})
	if err != nil {
		return nil, taken("--gateway", o.Gateway, err)
	}
	door := GatewayEndpoint(d.Gateway.Addr().String())
	dialer := &tunnel.Dialer{Credentials: c.client.Credentials, Endpoints: []tunnel.Endpoint{door}}
	c.client.Dialer = dialer
	application := sidecar.Options{
		Listen: o.Listen, AllowNonLoopback: o.AllowNonLoopback, Log: o.Log,
		Gateways: []sidecar.Gateway{{Name: door.ID.Name(), Dial: func(ctx context.Context) (net.Conn, error) { return dialer.Dial(ctx, door) }}},
		Opens:    explain.Opens,
	}
	if o.Unix != "" {
		application.Unix = &sidecar.UnixListener{Path: o.Unix}
	}
	d.Sidecar, err = sidecar.New(application)
	if err != nil {
		return nil, taken("--listen", o.Listen, err)
	}
	c.client.Fresh = d.Sidecar.Refresh
	c.client.Changed = func() { d.Sidecar.CutIf(c.client.Credentials.Revoked) }
	if err := statedir.WriteFile(filepath.Join(dir.Path(), addressFile), []byte(d.Gateway.Addr().String()+"\n"), 0o600); err != nil {
		return nil, err
	}
	d.url = redisURL(password, d.Sidecar.Addr())
	if err := statedir.WriteFile(dir.AppEnv(), []byte("REDIS_URL="+d.url+"\n"), 0o600); err != nil {
		return nil, err
	}
	return d, nil
}

// Close gives the directory back, after the parts have ended.
func (d *Deployment) Close() error { return d.dir.Close() }

// AppEnv is the file that the application takes REDIS_URL from.
func (d *Deployment) AppEnv() string { return d.dir.AppEnv() }

// Dir is the deployment's directory.
func (d *Deployment) Dir() string { return d.dir.Path() }

// Identities are those of the gateway and of the sidecar.
func (d *Deployment) Identities() (gateway, app identity.ID) { return gatewayID(), appID() }

// Credentials are theirs.
func (d *Deployment) Credentials() []*tunnel.Credentials {
	return []*tunnel.Credentials{d.certificates.server.Credentials, d.certificates.client.Credentials}
}

// taken names the flag that mends a port that somebody else has.
func taken(flag, address string, err error) error {
	var op *net.OpError // a unix socket's error names its path
	if errors.Is(err, syscall.EADDRINUSE) && errors.As(err, &op) && op.Net == "tcp" {
		return fmt.Errorf("up: %s is in use by another process: stop it (another Redis? another redoubt?), or choose another address with %s: %w", address, flag, syscall.EADDRINUSE)
	}
	return err
}

// redisURL is what client libraries take (redis:// URI scheme, IANA
// provisional registration). The password has no character that needs escaping.
func redisURL(password string, addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: net.JoinHostPort(host, port)}
	return u.String()
}

// findPassword finds the deployment's password, making it if there is none, and
// sees to it that the gateway believes it.
func findPassword(dir *statedir.Dir) (string, error) {
	password, err := statedir.ReadPassword(dir.Password())
	if errors.Is(err, fs.ErrNotExist) {
		password = statedir.NewPassword()
		err = statedir.WriteFile(dir.Password(), []byte(password+"\n"), 0o600)
	}
	if err != nil {
		return "", err
	}
	return password, secretFiles(dir).Enter(password)
}

// Prove asks the cache, as an application would, whether it is there.
func (d *Deployment) Prove(ctx context.Context) error {
	password, err := statedir.ReadPassword(d.dir.Password())
	if err != nil {
		return err
	}
	if err := Ping(ctx, d.Sidecar.Addr().String(), password); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	return nil
}
