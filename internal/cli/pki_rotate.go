package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

type pkiRotateCmd struct {
	Start  pkiRotateStartCmd  `cmd:"" help:"Make the next root; hosts get to believe it as they renew."`
	Switch pkiRotateSwitchCmd `cmd:"" help:"Sign with the next root from now on."`
	Finish pkiRotateFinishCmd `cmd:"" help:"Drop the old root and its key."`
	Status pkiRotateStatusCmd `cmd:"" help:"Say how far it is, and which hosts the next step waits for."`
}

type pkiRotateStartCmd struct {
	caFlags
	KeyType string `enum:"ecdsa,rsa,ed25519" default:"ecdsa" help:"Of the next root: ecdsa (P-256), rsa (4096 bits) or ed25519 (${default})."`
}

func (pkiRotateStartCmd) Help() string {
	return `Makes the next root and its key. The old one goes on signing; each certificate that is issued or renewed from now on brings both.

Example, a whole rotation:

  redoubt pki rotate start  --dir /root/clinic-ca
  redoubt pki rotate status --dir /root/clinic-ca    # until no host is waited for
  redoubt pki rotate switch --dir /root/clinic-ca
  redoubt pki rotate status --dir /root/clinic-ca    # until no host is waited for
  redoubt pki rotate finish --dir /root/clinic-ca`
}

func (c *pkiRotateStartCmd) Run(e *env) error {
	return rotate(e, c.caFlags, func(ca *pki.CA) error { return ca.StartRotation(pki.Options{Key: pki.KeyType(c.KeyType)}) })
}

type pkiRotateSwitchCmd struct {
	caFlags
	Force bool `help:"Cut off the hosts that don't believe the next root yet."`
}

func (pkiRotateSwitchCmd) Help() string {
	return `Lets the next root sign from now on. Refused, with exit code 1, while a host has not got it yet with a certificate.

Example:

  redoubt pki rotate switch --dir /root/clinic-ca`
}

func (c *pkiRotateSwitchCmd) Run(e *env) error {
	return rotate(e, c.caFlags, func(ca *pki.CA) error { return ca.SwitchRoot(c.Force) })
}

type pkiRotateFinishCmd struct {
	caFlags
	Force bool `help:"Cut off the hosts that still have a certificate of the old root."`
}

func (pkiRotateFinishCmd) Help() string {
	return `Drops the old root and its key. Refused, with exit code 1, while a host still has a certificate of it.

Example:

  redoubt pki rotate finish --dir /root/clinic-ca`
}

func (c *pkiRotateFinishCmd) Run(e *env) error {
	return rotate(e, c.caFlags, func(ca *pki.CA) error { return ca.FinishRotation(c.Force) })
}

type pkiRotateStatusCmd struct {
	Dir  string `required:"" placeholder:"DIR" help:"The CA's directory, or that of a deployment of redoubt up."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (pkiRotateStatusCmd) Help() string {
	return `Says how far a rotation is. The exit code is 1 while hosts are waited for. It needs no passphrase.

Example:

  redoubt pki rotate status --dir /root/clinic-ca --json | jq -r '.waiting[]'`
}

func (c *pkiRotateStatusCmd) Run(e *env) error {
	ca, err := pki.Open(caDir(c.Dir), nil)
	if err != nil {
		return err
	}
	r, err := ca.Rotation()
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(e.stdout, r)
	} else {
		err = showRotation(e, r)
	}
	if err == nil && len(r.Waiting) > 0 {
		return fmt.Errorf("%d hosts have not renewed since the last step", len(r.Waiting))
	}
	return err
}

// rotate takes a step and shows where that leads.
func rotate(e *env, f caFlags, step func(*pki.CA) error) error {
	ca, err := f.open(e)
	if err != nil {
		return err
	}
	if err := step(ca); err != nil {
		return err
	}
	r, err := ca.Rotation()
	if err != nil {
		return err
	}
	return showRotation(e, r)
}

func showRotation(e *env, r pki.Rotation) error {
	fmt.Fprintf(e.stdout, "rotation: %s\n", r.Stage)
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, root := range r.Roots {
		does := "is believed"
		if root.Fingerprint == r.Signing {
			does = "signs"
		}
		fmt.Fprintf(t, "root %.8s\t%s\tuntil %s\n", root.Fingerprint, does, root.NotAfter.Format(time.DateOnly))
	}
	for _, id := range r.Waiting {
		fmt.Fprintf(t, "waits for\t%s\n", id)
	}
	return t.Flush()
}
