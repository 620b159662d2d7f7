package cli

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

type pkiCmd struct {
	Init    pkiInitCmd    `cmd:"" help:"Make the deployment's CA."`
	Issue   pkiIssueCmd   `cmd:"" help:"Issue a host's certificate and key."`
	Request pkiRequestCmd `cmd:"" help:"Make a key on its host, and a CSR for it."`
	Sign    pkiSignCmd    `cmd:"" help:"Make a certificate of a CSR."`
	Import  pkiImportCmd  `cmd:"" help:"Join a key that was made here with the certificate signed for it."`
	Show    pkiShowCmd    `cmd:"" help:"Show what a certificate says."`
	List    pkiListCmd    `cmd:"" help:"List who has which certificate."`
	Revoke  pkiRevokeCmd  `cmd:"" help:"Revoke every certificate of a host."`
	Rotate  pkiRotateCmd  `cmd:"" help:"Replace the CA's root, with an overlap."`

	Passphrase pkiPassphraseCmd `cmd:"" help:"Encrypt the CA's keys under another passphrase."`
}

type pkiInitCmd struct {
	Deployment     string `required:"" placeholder:"NAME" help:"The deployment's name, part of every identity (spiffe://NAME/app/HOST)."`
	Dir            string `required:"" placeholder:"DIR" help:"Where the CA is kept (made, 0700): a place for it alone."`
	PassphraseFile string `xor:"passphrase" placeholder:"FILE" help:"File with the passphrase that encrypts the CA's keys, or credential:NAME for a systemd credential. Without it a terminal is asked."`
	Seal           bool   `xor:"passphrase" help:"Make a passphrase here that only this machine can read (systemd-creds, with its TPM if it has one); commands here and redoubt-gateway.service find it."`
	NoPassphrase   bool   `xor:"passphrase" help:"Ask for none: the CA's key lies in plain."`
	KeyType        string `enum:"ecdsa,rsa,ed25519" default:"ecdsa" help:"ecdsa (P-256), rsa (4096 bits) or ed25519 (${default})."`
}

func (pkiInitCmd) Help() string {
	return `Makes a private CA, good for ten years, for one deployment. Whoever has ca.key and its passphrase can make certificates: keep the directory off the application hosts, and off the network where you sign by hand.

Example:

  openssl rand -base64 33 > /root/ca-passphrase && chmod 600 /root/ca-passphrase
  redoubt pki init --deployment clinic --dir /root/clinic-ca --passphrase-file /root/ca-passphrase
  redoubt pki init --deployment clinic --dir /etc/redoubt/ca --seal`
}

func (c *pkiInitCmd) Run(e *env) error {
	if err := identity.ValidDeployment(c.Deployment); err != nil {
		return usage(fmt.Errorf("--deployment: %w", err), "redoubt pki init --help")
	}
	if exists(filepath.Join(c.Dir, "ca.crt")) {
		return fmt.Errorf("there is a CA in %s already: every certificate that it signed would be void (choose another --dir)", c.Dir)
	}
	var passphrase []byte
	var err error
	switch {
	case c.Seal:
		passphrase, err = sealedPassphrase()
	case !c.NoPassphrase:
		passphrase, err = newPassphrase(e, c.PassphraseFile)
	}
	if err != nil {
		return err
	}
	if len(passphrase) == 0 {
		fmt.Fprintln(e.stderr, "warning: the CA's key lies in plain: whoever reads ca.key can make certificates (--passphrase-file encrypts it)")
	}
	ca, err := pki.Create(c.Dir, c.Deployment, pki.Options{Key: pki.KeyType(c.KeyType), Passphrase: passphrase})
	if err != nil {
		return err
	}
	if c.Seal {
		fmt.Fprintf(e.stderr, "the CA's keys are encrypted, and their passphrase is in %s, for this machine alone: with a backup of %s keep a copy of it elsewhere (systemd-creds decrypt --name=%s %s -)\n", sealedFile, c.Dir, sealedName, sealedFile)
	}
	return show(e.stdout, ca.Roots())
}

type pkiPassphraseCmd struct {
	caFlags
	NewPassphraseFile string `placeholder:"FILE" help:"File with the new passphrase. Without it a terminal is asked."`
}

func (pkiPassphraseCmd) Help() string {
	return `Encrypts the CA's keys under another passphrase, or for the first time. A gateway that uses the CA reads its own passphrase file again when it signs next: put the new one there right after. Backups keep the old one.

Example:

  redoubt pki passphrase --dir /etc/redoubt/ca --passphrase-file old --new-passphrase-file new`
}

func (c *pkiPassphraseCmd) Run(e *env) error {
	if c.NewPassphraseFile == "" && !e.terminal() {
		return usage(errors.New("say where the new passphrase is with --new-passphrase-file"), "redoubt pki passphrase --help")
	}
	ca, err := c.open(e)
	if err != nil {
		return err
	}
	passphrase, err := newPassphrase(e, c.NewPassphraseFile)
	if err != nil {
		return err
	}
	if len(passphrase) == 0 {
		return errors.New("a passphrase is not taken away again: the keys stay encrypted as they were")
	}
	if err := ca.ChangePassphrase(passphrase); err != nil {
		return err
	}
	if exists(sealedFile) {
		fmt.Fprintf(e.stderr, "if these keys' passphrase was the one in %s, seal the new one: systemd-creds encrypt --name=%s FILE %s; the gateway has it from its next start on\n", sealedFile, sealedName, sealedFile)
	}
	return nil
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
