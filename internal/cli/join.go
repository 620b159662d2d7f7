package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/units"
)

type joinCmd struct {
	TokenFile string `placeholder:"FILE" help:"File that holds what redoubt token create printed, or - for standard input. Default: a terminal is asked."`
	Token     string `arg:"" optional:"" secret:"" help:"The token itself. Other users of this host see it while this runs, and the shell keeps it in its history: use --token-file."`
	Dir       string `default:"/etc/redoubt" placeholder:"DIR" help:"Where the host's files go (${default}): sidecar.yaml (or gateway.yaml), and tls with its identity."`
}

func (joinCmd) Help() string {
	return `Gives a new host its identity: makes a key here, checks that the gateway stands under the CA that the token names, gets a certificate for the key over the gateway's one open port, and writes a configuration that works. The certificate renews itself from then on.

Example:

  redoubt join --token-file -      # then paste the token, and end with Ctrl-D
  redoubt sidecar

A token that was not used stays good until its time is over: where joining failed for good, end it where the CA lies (redoubt token revoke ID).`
}

// joinTimeout bounds all of it: each gateway of the token may be away.
const joinTimeout = time.Minute

// maxTokenFile bounds what is read as a token.
const maxTokenFile = 16 << 10

func (c *joinCmd) Run(e *env) error {
	text, err := c.text(e)
	if err != nil {
		return usage(err, "redoubt join --help")
	}
	token, err := enroll.ParseToken(text)
	if err != nil {
		return usage(err, "redoubt join --help")
	}
	place, err := c.place(token)
	if err != nil {
		return err
	}
	if err := enroll.Vacant(place.files); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, joinTimeout)
	defer cancel()
	got, err := enroll.Join(ctx, token)
	if err != nil {
		return err
	}
	if token.Identity.Role() == identity.App {
		if err := makeForSidecar(filepath.Dir(place.files.Certificate)); err != nil {
			return err
		}
	}
	if err := got.Install(place.files); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "identity       %s, until %s\ncertificate    %s\n", token.Identity, got.Certificate().NotAfter.Format(time.RFC3339), place.files.Certificate)
	if place.configured {
		fmt.Fprintf(e.stdout, "configuration  %s, left as it is\n", place.config)
		return nil
	}
	if err := statedir.WriteFile(place.config, []byte(place.text), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "configuration  %s\n", place.config)
	return nil
}

// makeForSidecar makes the directory of an application host's identity, if it isn't
// there. Where the sidecar's service has a user of its own (docs/systemd.md), it
// belongs to that, who renews what lies in it; what we write there follows.
func makeForSidecar(dir string) error {
	u, err := user.Lookup(units.Sidecar)
	if err != nil || os.Geteuid() != 0 {
		return nil // Install makes it, for whoever runs us
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return os.Chown(dir, uid, gid)
}

func (c *joinCmd) text(e *env) (string, error) {
	switch {
	case c.Token != "" && c.TokenFile != "":
		return "", errors.New("give the token once: --token-file, or TOKEN")
	case c.Token == "" && c.TokenFile == "" && e.terminal():
		text, err := e.ask("Token (what redoubt token create printed; it isn't shown): ")
		return string(text), err
	case c.Token == "" && c.TokenFile == "":
		return "", errors.New("the token is missing: --token-file FILE, or --token-file - and the token on standard input")
	case c.TokenFile == "-":
		text, err := io.ReadAll(io.LimitReader(e.stdin, maxTokenFile))
		return string(text), err
	case c.TokenFile != "":
		text, err := statedir.ReadGiven(c.TokenFile, maxTokenFile, "token")
		return string(text), err
	}
	fmt.Fprintln(e.stderr, "redoubt: the token was an argument: other users of this host can see it while this runs, and the shell's history keeps it. Next time: redoubt join --token-file -")
	return c.Token, nil
}

// place is where a host's files go.
type place struct {
	files      tunnel.Files
	config     string // the configuration file
	configured bool   // it is there already
	text       string // it is to have, otherwise
}

// place finds where to write; a configuration that is there already must be of
// this host, and says where its identity lies.
func (c *joinCmd) place(t enroll.Token) (*place, error) {
	p := &place{config: filepath.Join(c.Dir, map[identity.Role]string{identity.App: "sidecar.yaml", identity.Gateway: "gateway.yaml"}[t.Identity.Role()])}
	_, err := os.Stat(p.config)
	if p.configured = err == nil; !p.configured && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !p.configured {
		p.text = configFor(t)
		tls := filepath.Join(c.Dir, "tls")
		p.files = tunnel.Files{Certificate: filepath.Join(tls, "tls.pem"), CA: filepath.Join(tls, "ca.crt"), CRL: filepath.Join(tls, "revoked.crl")}
		return p, nil
	}
	deployment, name, tls, err := readNames(p.config, t.Identity.Role())
	if err != nil {
		return nil, misconfigured(err)
	}
	if deployment != t.Identity.Deployment() || name != t.Identity.Name() {
		return nil, misconfigured(fmt.Errorf("%s is of deployment %s, name %s, but the token is for %s (move the file away, or make another token)", p.config, deployment, name, t.Identity))
	}
	if tls.Key != "" {
		return nil, misconfigured(fmt.Errorf("%s: tls.key names a file of its own, but the identity of a host that joins is one file: remove the key", p.config))
	}
	if p.files, err = filesOf(tls); err != nil {
		return nil, misconfigured(err)
	}
	return p, nil
}

func readNames(path string, role identity.Role) (deployment, name string, tls config.TLS, err error) {
	if role == identity.Gateway {
		c, err := config.LoadGateway(path)
		return c.Deployment, c.Name, c.TLS, err
	}
	c, err := config.LoadSidecar(path)
	return c.Deployment, c.Name, c.TLS, err
}

// configFor is a configuration that works.
func configFor(t enroll.Token) string {
	const certificate, ca = "tls/tls.pem", "tls/ca.crt" // beside it, wherever --dir is
	var peers []config.Peer
	for _, g := range t.Gateways {
		peers = append(peers, config.Peer{Name: g.Name, Address: g.Address})
	}
	const head = "# Written by redoubt join; docs/configuration.md has every key.\n"
	if t.Identity.Role() == identity.Gateway {
		c := config.NewGateway()
		c.Deployment, c.Name, c.RenewFrom = t.Identity.Deployment(), t.Identity.Name(), peers
		c.TLS.Certificate, c.TLS.CA = certificate, ca
		return head + config.Text(c)
	}
	c := config.NewSidecar()
	c.Deployment, c.Name, c.Gateways = t.Identity.Deployment(), t.Identity.Name(), peers
	c.TLS.Certificate, c.TLS.CA = certificate, ca
	return head + config.Text(c)
}
