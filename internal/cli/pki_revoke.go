package cli

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

type pkiListCmd struct {
	Dir  string `required:"" placeholder:"DIR" help:"The CA's directory, or that of a deployment of redoubt up."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (pkiListCmd) Help() string {
	return `Lists the certificates that the CA has issued, from its ledger: living, revoked, and ended within the last month. It needs no passphrase.

Example:

  redoubt pki list --dir /root/clinic-ca
  redoubt pki list --dir /root/clinic-ca --json | jq -r '.[] | select(.status == "living") | .identity'`
}

func (c *pkiListCmd) Run(e *env) error {
	ca, err := pki.Open(caDir(c.Dir), nil)
	if err != nil {
		return err
	}
	issued, err := ca.Issued()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(e.stdout, issued)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "IDENTITY\tSTATUS\tISSUED\tEND\tSERIAL\tROOT")
	for _, i := range issued {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.8s\n", i.Identity, i.Status, i.Issued.Format(time.RFC3339), i.End.Format(time.RFC3339), i.Serial, i.Root)
	}
	return t.Flush()
}

type pkiRevokeCmd struct {
	caFlags
	Name string `arg:"" placeholder:"HOST" help:"The host's name in the deployment."`
	Role string `enum:"gateway,app" default:"app" help:"gateway or app (${default})."`
}

func (pkiRevokeCmd) Help() string {
	return `Revokes every certificate that a host has. A gateway that uses this directory cuts the host's connections within a second; others are given revoked.crl. The host gets in again only with a new certificate.

The exit code is 1 if the CA never issued that host one.

Example:

  redoubt pki revoke --dir /root/clinic-ca web-1
  redoubt pki revoke --dir ~/.local/state/redoubt app`
}

func (c *pkiRevokeCmd) Run(e *env) error {
	ca, err := c.open(e)
	if err != nil {
		return err
	}
	id, err := identity.New(ca.Deployment(), identity.Role(c.Role), c.Name)
	if err != nil {
		return usage(err, "redoubt pki revoke --help")
	}
	n, err := ca.Revoke(id)
	if err != nil {
		return err
	}
	if n == 0 {
		if err := known(ca, id); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "%s: %d revoked, listed in %s\n", id, n, filepath.Join(caDir(c.Dir), "revoked.crl"))
	return nil
}

// known tells a host that has been revoked before from a mistyped name.
func known(ca *pki.CA, id identity.ID) error {
	issued, err := ca.Issued()
	if err != nil {
		return err
	}
	for _, i := range issued {
		if i.Identity == id {
			return nil
		}
	}
	return fmt.Errorf("the CA of %s has issued nothing to %s that could be in use (redoubt pki list)", ca.Deployment(), id)
}
