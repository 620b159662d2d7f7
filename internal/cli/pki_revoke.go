package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

type pkiListCmd struct {
	Dir  string `required:"" placeholder:"DIR" help:"The CA's directory, or that of a deployment of redoubt up."`
	All  bool   `help:"List those too that ended longer than a month ago: all of six years, from the archive."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (pkiListCmd) Help() string {
	return `Lists the certificates that the CA has issued, from its ledger: living, revoked, and ended within the last month. With --all, before them, those of the archive: who had access in the last six years, from when to when. The exit code is 1 if the archive was changed or cut. It needs no passphrase.

Example:

  redoubt pki list --dir /root/clinic-ca
  redoubt pki list --dir /root/clinic-ca --json | jq -r '.[] | select(.status == "living") | .identity'
  redoubt pki list --dir /root/clinic-ca --all --json | jq '.[] | select(.identity | endswith("/web-1"))'`
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
	out := c.output(e)
	var faults []string
	if c.All {
		chain, err := ca.Archived(out.each)
		if err != nil {
			return err
		}
		faults = chain.Faults
	}
	for _, i := range issued {
		if err := out.each(i); err != nil {
			return err
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("the archive in %s was changed or cut: %s", caDir(c.Dir), strings.Join(faults, "; "))
	}
	return nil
}

// issuedOutput prints certificates one by one: an archive may hold more than memory.
type issuedOutput struct {
	each func(pki.Issued) error
	end  func() error
}

func (c *pkiListCmd) output(e *env) issuedOutput {
	p, began := newPaper(e), false
	switch {
	case c.JSON:
		return issuedOutput{func(i pki.Issued) error {
			text, err := json.MarshalIndent(i, "  ", "  ")
			if err != nil {
				return err
			}
			between := ",\n  "
			if !began {
				between, began = "[\n  ", true
			}
			_, err = fmt.Fprintf(e.stdout, "%s%s", between, text)
			return err
		}, func() error {
			last := "\n]\n"
			if !began {
				last = "[]\n"
			}
			_, err := io.WriteString(e.stdout, last)
			return err
		}}
	case p.width > 0: // a table would be wider than most terminals
		return issuedOutput{func(i pki.Issued) error {
			p.title(fmt.Sprintf("%s  %s", i.Identity, i.Status))
			p.wrap("  ", fmt.Sprintf("from %s to %s, root %.8s", i.Issued.Format(time.RFC3339), i.End.Format(time.RFC3339), i.Root))
			p.wrap("  ", "serial "+i.Serial)
			return nil
		}, func() error { return nil }}
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "IDENTITY\tSTATUS\tISSUED\tEND\tSERIAL\tROOT")
	lines := 0
	return issuedOutput{func(i pki.Issued) error {
		_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.8s\n", i.Identity, i.Status, i.Issued.Format(time.RFC3339), i.End.Format(time.RFC3339), i.Serial, i.Root)
		if lines++; err == nil && lines%tableLines == 0 {
			err = t.Flush()
		}
		return err
	}, t.Flush}
}

// tableLines are as many as are made to stand below each other.
const tableLines = 10_000

type pkiRevokeCmd struct {
	caFlags
	Name   string `arg:"" optional:"" placeholder:"HOST" help:"The host's name in the deployment."`
	Role   string `enum:"gateway,app" default:"app" help:"gateway or app (${default})."`
	Serial string `placeholder:"HEX" help:"Revoke this one certificate instead, as pki list shows it, and leave its host the others."`
}

func (pkiRevokeCmd) Help() string {
	return `Shuts a host out: every certificate that it has is revoked, and every token for it is void. A gateway that uses this directory cuts the host's connections within a second; others are given revoked.crl. The host gets in again with a new token only, or a certificate that is issued by hand.

It prints what it revoked. If a host was replaced by another of the same name, revoke the old one's certificates alone: --serial. It then names those that its host has left: after a renewal the one before lives on until it ends.

The exit code is 1 if the CA never issued that host a certificate or a token.

Example:

  redoubt pki revoke --dir /root/clinic-ca web-1
  redoubt pki revoke --dir /root/clinic-ca --serial 5be1f2aa0c77d2d1e6e1f7a4f0d1a001
  redoubt pki revoke --dir ~/.local/state/redoubt app`
}

func (c *pkiRevokeCmd) Run(e *env) error {
	if (c.Name == "") == (c.Serial == "") {
		return usage(errors.New("one is needed: HOST or --serial"), "redoubt pki revoke --help")
	}
	ca, err := c.open(e)
	if err != nil {
		return err
	}
	if c.Serial != "" {
		revoked, err := ca.RevokeSerial(c.Serial)
		if err != nil {
			return err
		}
		if err := c.tell(e, "serial "+c.Serial, enroll.Revocation{Certificates: revoked}); err != nil {
			return err
		}
		return c.tellLeft(e, ca)
	}
	id, err := identity.New(ca.Deployment(), identity.Role(c.Role), c.Name)
	if err != nil {
		return usage(err, "redoubt pki revoke --help")
	}
	done, err := enroll.OpenTokens(caDir(c.Dir)).Revoke(ca, id)
	if err != nil {
		return err
	}
	return c.tell(e, id.String(), done)
}

func (c *pkiRevokeCmd) tell(e *env, what string, done enroll.Revocation) error {
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, i := range done.Certificates {
		fmt.Fprintf(t, "revoked\t%s\t%s\tissued %s\tuntil %s\t%s before\n", i.Identity, i.Serial, i.Issued.Format(time.RFC3339), i.End.Format(time.RFC3339), i.Status)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "%s: %d revoked, listed in %s; tokens made void: %d\n", what, len(done.Certificates), filepath.Join(caDir(c.Dir), "revoked.crl"), done.Tokens)
	return err
}

// tellLeft names the other certificates of the host that live. After a renewal the one
// before is among them until it ends, and whoever has a copy of it renews with it.
func (c *pkiRevokeCmd) tellLeft(e *env, ca *pki.CA) error {
	issued, err := ca.Issued()
	if err != nil {
		return err
	}
	one := slices.IndexFunc(issued, func(i pki.Issued) bool { return i.Serial == c.Serial })
	for _, i := range issued {
		if one < 0 || i.Identity != issued[one].Identity || i.Status != pki.Living {
			continue
		}
		if _, err := fmt.Fprintf(e.stdout, "left: %s %s, issued %s, lives until %s: if it is of the same machine, revoke it too\n", i.Identity, i.Serial, i.Issued.Format(time.RFC3339), i.End.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}
