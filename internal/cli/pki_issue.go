package cli

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// hostFlags say what a host's certificate shall be.
type hostFlags struct {
	Role string        `required:"" enum:"gateway,app" help:"gateway (a cache host) or app (an application host)."`
	Name string        `required:"" placeholder:"HOST" help:"The host's name in the deployment."`
	DNS  []string      `name:"dns" placeholder:"NAME" help:"Further DNS names of the host."`
	IP   []netip.Addr  `name:"ip" placeholder:"ADDR" help:"Further addresses of the host."`
	Life time.Duration `placeholder:"DURATION" help:"How long it is good for, as 2160h. Default: ${leaf_life}, for hosts that renew."`
}

func (f hostFlags) request(ca *pki.CA) (pki.Request, error) {
	id, err := identity.New(ca.Deployment(), identity.Role(f.Role), f.Name)
	if err != nil {
		return pki.Request{}, coded{fmt.Errorf("--name: %w", err), exitUsage}
	}
	return pki.Request{ID: id, DNS: f.DNS, IPs: f.IP, Life: f.Life}, nil
}

type pkiIssueCmd struct {
	caFlags
	hostFlags
	Out     string `required:"" placeholder:"DIR" help:"Where tls.pem (key and certificate, 0600) and ca.crt go."`
	KeyType string `enum:"ecdsa,rsa,ed25519" default:"ecdsa" help:"ecdsa (P-256), rsa (4096 bits) or ed25519 (${default})."`
}

func (pkiIssueCmd) Help() string {
	return `Makes a key and a certificate for one host. Each host gets its own; none is copied to two. Better is a key that never leaves its host: redoubt join, or redoubt pki request.

Example:

  redoubt pki issue --dir /root/clinic-ca --role gateway --name cache-1 --ip 10.77.0.2 --out cache-1
  redoubt pki issue --dir /root/clinic-ca --role app --name web-1 --out web-1`
}

func (c *pkiIssueCmd) Run(e *env) error {
	ca, err := c.open(e)
	if err != nil {
		return err
	}
	r, err := c.request(ca)
	if err != nil {
		return err
	}
	r.Key = pki.KeyType(c.KeyType)
	leaf, err := ca.Issue(r)
	if err != nil {
		return err
	}
	if err := leaf.Save(c.Out); err != nil {
		return err
	}
	return show(e.stdout, []*x509.Certificate{leaf.Certificate()})
}

type pkiRequestCmd struct {
	Out     string `required:"" placeholder:"DIR" help:"Where tls.key (0600) and tls.csr go; made (0700) if missing."`
	KeyType string `enum:"ecdsa,rsa,ed25519" default:"ecdsa" help:"ecdsa (P-256), rsa (4096 bits) or ed25519 (${default})."`
}

func (pkiRequestCmd) Help() string {
	return `Makes a host's key on that host, and a CSR: for a CA that is offline or elsewhere. The CSR names nobody; who signs it says whose it is.

Example, the three steps:

  redoubt pki request --out /etc/redoubt/tls                                                  # on the host
  redoubt pki sign --dir /root/clinic-ca --csr tls.csr --role app --name web-1 --out web-1    # where the CA is
  redoubt pki import --out /etc/redoubt/tls --certificate web-1/tls.crt --ca web-1/ca.crt     # on the host`
}

func (c *pkiRequestCmd) Run(e *env) error {
	keyFile, csrFile := filepath.Join(c.Out, "tls.key"), filepath.Join(c.Out, "tls.csr")
	if exists(keyFile) {
		return fmt.Errorf("%s is already there: a key that waits for its certificate is not overwritten (redoubt pki import, or remove it)", keyFile)
	}
	key, csr, err := pki.NewRequest(pki.KeyType(c.KeyType))
	if err != nil {
		return err
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	if err := statedir.WriteFile(keyFile, text, 0o600); err != nil {
		return err
	}
	if err := statedir.WriteFile(csrFile, csr, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s\n%s\n", keyFile, csrFile)
	return nil
}

type pkiSignCmd struct {
	caFlags
	hostFlags
	CSR string `name:"csr" required:"" placeholder:"FILE" help:"The certificate request, PEM."`
	Out string `required:"" placeholder:"DIR" help:"Where tls.crt and ca.crt go."`
}

func (pkiSignCmd) Help() string {
	return `Makes a certificate for a key that was made elsewhere. Only the public key is taken from the CSR: whatever names, usages or extensions it asks for, the certificate says what the flags say.

Example:

  redoubt pki sign --dir /root/clinic-ca --csr tls.csr --role app --name web-1 --out web-1`
}

func (c *pkiSignCmd) Run(e *env) error {
	text, err := statedir.ReadGiven(c.CSR, 16<<10, "certificate request")
	if err != nil {
		return err
	}
	csr, err := pki.ParseRequest(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.CSR, err)
	}
	ca, err := c.open(e)
	if err != nil {
		return err
	}
	r, err := c.request(ca)
	if err != nil {
		return err
	}
	cert, err := ca.Sign(csr, r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	if err := statedir.WriteFile(filepath.Join(c.Out, "ca.crt"), pki.EncodeCertificates(ca.Roots()...), 0o644); err != nil {
		return err
	}
	if err := statedir.WriteFile(filepath.Join(c.Out, "tls.crt"), pki.EncodeCertificates(cert), 0o644); err != nil {
		return err
	}
	return show(e.stdout, []*x509.Certificate{cert})
}

type pkiImportCmd struct {
	Out         string `required:"" placeholder:"DIR" help:"Where tls.key lies, and tls.pem and ca.crt go."`
	Certificate string `required:"" placeholder:"FILE" help:"The certificate that was signed, PEM."`
	CA          string `name:"ca" required:"" placeholder:"FILE" help:"The CA that came with it, PEM."`
}

func (pkiImportCmd) Help() string {
	return `Writes tls.pem, which holds key and certificate, and ca.crt, and removes tls.key and tls.csr. It refuses a certificate that isn't for this key, or doesn't stand under the CA.

Example:

  redoubt pki import --out /etc/redoubt/tls --certificate web-1/tls.crt --ca web-1/ca.crt`
}

func (c *pkiImportCmd) Run(e *env) error {
	keyFile := filepath.Join(c.Out, "tls.key")
	leaf, err := c.join(keyFile)
	if err != nil {
		return err
	}
	if err := leaf.Save(c.Out); err != nil {
		return err
	}
	for _, name := range []string{"tls.key", "tls.csr"} {
		if err := os.Remove(filepath.Join(c.Out, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return show(e.stdout, []*x509.Certificate{leaf.Certificate()})
}

func (c *pkiImportCmd) join(keyFile string) (*pki.Leaf, error) {
	text, err := statedir.ReadSecret(keyFile)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	if key, err = pki.ParseKey(text); err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	certs, err := pki.Read(c.Certificate)
	if err != nil {
		return nil, err
	}
	roots, err := pki.Read(c.CA)
	if err != nil {
		return nil, err
	}
	leaf, err := pki.NewLeaf(key, certs[0], roots)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", c.Certificate, keyFile, err)
	}
	return leaf, nil
}
