package cli

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

type pkiCmd struct {
	Init  pkiInitCmd  `cmd:"" help:"Make the deployment's CA."`
	Issue pkiIssueCmd `cmd:"" help:"Issue a host's certificate and key."`
	Show  pkiShowCmd  `cmd:"" help:"Show what a certificate says."`
}

type pkiInitCmd struct {
	Deployment string `required:"" placeholder:"NAME" help:"The deployment's name, part of every identity (spiffe://NAME/app/HOST)."`
	Dir        string `required:"" placeholder:"DIR" help:"Where the CA is kept (made, 0700): a place that no gateway or sidecar reads."`
}

func (pkiInitCmd) Help() string {
	return `Makes a private CA (ECDSA P-256, ten years) for one deployment. Whoever has ca.key can make certificates: keep the directory off the cache and application hosts.

Example:

  redoubt pki init --deployment clinic --dir /root/clinic-ca`
}

func (c *pkiInitCmd) Run(e *env) error {
	if err := identity.ValidDeployment(c.Deployment); err != nil {
		return usage(fmt.Errorf("--deployment: %w", err), "redoubt pki init --help")
	}
	ca, err := pki.Create(c.Dir, c.Deployment, pki.Options{})
	if err != nil {
		return err
	}
	return show(e.stdout, []*x509.Certificate{ca.Certificate()})
}

type pkiIssueCmd struct {
	Dir  string        `required:"" placeholder:"DIR" help:"The CA's directory."`
	Role string        `required:"" enum:"gateway,app" help:"gateway (a cache host) or app (an application host)."`
	Name string        `required:"" placeholder:"HOST" help:"The host's name in the deployment."`
	Out  string        `required:"" placeholder:"DIR" help:"Where tls.pem (key and certificate, 0600) and ca.crt go."`
	DNS  []string      `name:"dns" placeholder:"NAME" help:"Further DNS names of the host."`
	IP   []netip.Addr  `name:"ip" placeholder:"ADDR" help:"Further addresses of the host."`
	Life time.Duration `placeholder:"DURATION" help:"How long it is good for, as 2160h. Default: 168h, 7 days: for hosts that renew."`
}

func (pkiIssueCmd) Help() string {
	return `Makes a key and a certificate for one host. Each host gets its own; none is copied to two.

Example:

  redoubt pki issue --dir /root/clinic-ca --role gateway --name cache-1 --ip 10.77.0.2 --out cache-1
  redoubt pki issue --dir /root/clinic-ca --role app --name web-1 --out web-1`
}

func (c *pkiIssueCmd) Run(e *env) error {
	ca, err := pki.Open(c.Dir, nil)
	if err != nil {
		return err
	}
	id, err := identity.New(ca.Deployment(), identity.Role(c.Role), c.Name)
	if err != nil {
		return usage(fmt.Errorf("--name: %w", err), "redoubt pki issue --help")
	}
	leaf, err := ca.Issue(pki.Request{ID: id, DNS: c.DNS, IPs: c.IP, Life: c.Life})
	if err != nil {
		return err
	}
	if err := leaf.Save(c.Out); err != nil {
		return err
	}
	return show(e.stdout, []*x509.Certificate{leaf.Certificate()})
}

type pkiShowCmd struct {
	Files []string `arg:"" placeholder:"FILE" help:"Certificates in PEM form."`
	JSON  bool     `name:"json" help:"Print JSON."`
}

func (pkiShowCmd) Help() string {
	return `Shows the certificates in files. The exit code is 1 if one of them has expired.

Example:

  redoubt pki show --json /etc/redoubt/tls/tls.pem | jq .[0].days_left`
}

func (c *pkiShowCmd) Run(e *env) error {
	var certs []*x509.Certificate
	for _, file := range c.Files {
		found, err := pki.Read(file)
		if err != nil {
			return err
		}
		certs = append(certs, found...)
	}
	if c.JSON {
		if err := writeJSON(e.stdout, describe(certs)); err != nil {
			return err
		}
	} else if err := show(e.stdout, certs); err != nil {
		return err
	}
	for _, cert := range certs {
		if time.Now().After(cert.NotAfter) {
			return fmt.Errorf("the certificate of %s expired at %s", cert.Subject, cert.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func describe(certs []*x509.Certificate) []pki.Description {
	list := make([]pki.Description, len(certs))
	for i, cert := range certs {
		list[i] = pki.Describe(cert, time.Now())
	}
	return list
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func show(w io.Writer, certs []*x509.Certificate) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, d := range describe(certs) {
		if i > 0 {
			fmt.Fprintln(t)
		}
		identity := d.Identity.String()
		if d.CA {
			identity = "CA of " + strings.Join(d.URIs, " ")
		}
		for _, row := range [][2]string{
			{"identity", identity},
			{"valid", fmt.Sprintf("%s to %s, %d days left", d.NotBefore.Format(time.RFC3339), d.NotAfter.Format(time.RFC3339), d.DaysLeft)},
			{"names", strings.Join(append(d.DNS, d.IPs...), " ")},
			{"key", d.KeyType},
			{"serial", d.Serial},
			{"sha256", d.Fingerprint},
		} {
			if row[1] != "" {
				fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
			}
		}
	}
	return t.Flush()
}
