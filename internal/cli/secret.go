package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/secret"
	"github.com/redoubt-cache/redoubt/internal/up"
)

type secretCmd struct {
	New    secretNewCmd    `cmd:"" help:"Make the application's password: a file for the application, a digest for the gateway."`
	Rotate secretRotateCmd `cmd:"" help:"Replace the password, the old one staying good for a while; nothing is restarted."`
	List   secretListCmd   `cmd:"" help:"List the passwords that are good, by name, and until when."`
	Retire secretRetireCmd `cmd:"" help:"End an overlap now: only the newest password stays good."`
}

type secretNewCmd struct {
	Out     string `required:"" placeholder:"DIR" help:"Where the files go; made (0700) if missing."`
	Address string `default:"127.0.0.1:6379" placeholder:"HOST:PORT" help:"Where the application finds the sidecar, for REDIS_URL (${default})."`
}

func (secretNewCmd) Help() string {
	return `Writes two files, and prints no secret:

  app.env          REDIS_URL with the password, mode 0600: for application hosts
  password.sha256  its digest: for the gateway (engine.password_digests)

The password has 256 random bits. Example:

  redoubt secret new --out /root/clinic`
}

func (c *secretNewCmd) Run(e *env) error {
	if err := checkAddress("--address", c.Address, "redoubt secret new --help"); err != nil {
		return err
	}
	files := secret.Files{AppEnv: filepath.Join(c.Out, "app.env"), Digests: filepath.Join(c.Out, "password.sha256"), Address: c.Address}
	if err := files.Create(); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s\n%s\n", files.AppEnv, files.Digests)
	return nil
}

func checkAddress(flag, address, help string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return usage(fmt.Errorf("%s %q is not HOST:PORT", flag, address), help)
	}
	return nil
}

// secretAt says whose password is meant: a gateway's on this host, or that of
// a whole deployment on this machine.
type secretAt struct {
	Digests string `placeholder:"FILE" xor:"at" help:"The gateway's digests file (engine.password_digests)."`
	Dir     string `placeholder:"DIR" xor:"at" help:"The directory of a deployment of \"redoubt up\", whether it runs or not."`
}

// open gives the files; release gives a deployment's directory back.
func (a secretAt) open(help string) (files secret.Files, running bool, release func() error, err error) {
	switch {
	case a.Dir != "":
		return up.Secret(a.Dir)
	case a.Digests != "":
		return secret.Files{Digests: a.Digests}, false, func() error { return nil }, nil
	}
	return files, false, nil, usage(errors.New("name --digests FILE or --dir DIR"), help)
}

type secretRotateCmd struct {
	secretAt
	Overlap time.Duration `default:"24h" placeholder:"DURATION" help:"How long the password that is replaced stays good (${default}); 0s: not at all."`
	Out     string        `placeholder:"FILE" help:"With --digests: the application's file. If it is there, only the password in it is replaced."`
	Address string        `default:"127.0.0.1:6379" placeholder:"HOST:PORT" help:"For an --out that is not there yet: where the application finds the sidecar (${default})."`
	JSON    bool          `name:"json" help:"As JSON."`
}

func (secretRotateCmd) Help() string {
	return `Makes a new password. Both are good until the overlap is over: within it, give the file to the application on every host, and have it connect anew. A running gateway follows within a second or two and is not restarted; at the overlap's end it refuses the old password and ends the connections that came with it.

Cut at any moment, the application is left with a password that works: run it again.

Examples:

  redoubt secret rotate --digests /etc/redoubt/password.sha256 --overlap 24h --out /root/app.env
  redoubt secret rotate --dir ~/.local/state/redoubt --overlap 5m`
}

func (c *secretRotateCmd) Run(e *env) error {
	const help = "redoubt secret rotate --help"
	if err := checkAddress("--address", c.Address, help); err != nil {
		return err
	}
	if c.Overlap < 0 {
		return usage(fmt.Errorf("--overlap %s is less than nothing", c.Overlap), help)
	}
	if (c.Out == "") != (c.Dir != "") {
		return usage(errors.New("name --digests FILE and --out FILE (--out FILE goes with --digests, and only with it), or --dir DIR"), help)
	}
	files, running, release, err := c.open(help)
	if err != nil {
		return err
	}
	defer release()
	if c.Out != "" {
		files.AppEnv, files.Address = c.Out, c.Address
	}
	var taken func(string) error
	if running {
		taken = func(password string) error { return up.Taken(e.ctx, files, password) }
	}
	done, err := files.Rotate(c.Overlap, time.Now(), taken)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(done)
	}
	fmt.Fprintf(e.stdout, "password %s is in %s\n", done.Name, done.AppEnv)
	if c.Overlap > 0 {
		fmt.Fprintf(e.stdout, "the one before it is good until %s (redoubt secret retire ends it at once)\n", done.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

type secretListCmd struct {
	secretAt
	JSON bool `name:"json" help:"As JSON."`
}

func (secretListCmd) Help() string {
	return `A password's name is the beginning of its digest: it tells passwords apart and opens nothing.

Example:

  redoubt secret list --digests /etc/redoubt/password.sha256`
}

func (c *secretListCmd) Run(e *env) error {
	files, _, release, err := c.open("redoubt secret list --help")
	if err != nil {
		return err
	}
	defer release()
	now := time.Now()
	list, err := files.List(now)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(list)
	}
	table := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, p := range list {
		state := "good"
		switch {
		case p.Ended:
			state = "ended " + p.Until.Format(time.RFC3339)
		case p.Until != nil:
			state = fmt.Sprintf("good until %s (%s)", p.Until.Format(time.RFC3339), p.Until.Sub(now).Round(time.Second))
		}
		fmt.Fprintf(table, "%s\t%s\n", p.Name, state)
	}
	return table.Flush()
}

type secretRetireCmd struct{ secretAt }

func (secretRetireCmd) Help() string {
	return `Passwords that have an end are no longer good: the gateway refuses them within a second or two and ends the connections that came with them.

Example:

  redoubt secret retire --digests /etc/redoubt/password.sha256`
}

func (c *secretRetireCmd) Run(e *env) error {
	files, _, release, err := c.open("redoubt secret retire --help")
	if err != nil {
		return err
	}
	defer release()
	ended, err := files.Retire()
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "passwords ended: %d\n", ended)
	return nil
}
