package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/config"
)

type reloadCmd struct {
	Config string `placeholder:"FILE" xor:"which" help:"Of the gateway or sidecar that runs with this configuration. Default: the one that is in /etc/redoubt."`
	Socket string `placeholder:"FILE" xor:"which" help:"Of the process that answers on this socket (admin.socket)."`
	DryRun bool   `help:"Say what would change and what needs a restart, and change nothing."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (reloadCmd) Help() string {
	return `Has a gateway or sidecar that runs read its file anew, and says what has changed. What can change at once does, for connections that exist too: a network that is no longer admitted is cut, a right that was taken away is refused with the next command. What needs a restart is named with the reason; docs/configuration.md has it of each key. A file that is wrong changes nothing: exit code 2.

Example:

  redoubt reload --dry-run
  systemctl reload redoubt-gateway
  redoubt reload --config /etc/redoubt/sidecar.yaml --json | jq '.waiting'`
}

func (c *reloadCmd) Run(e *env) error {
	socket, err := c.socket()
	if err != nil {
		return misconfigured(err)
	}
	path := reloadPath
	if c.DryRun {
		path += "?" + url.Values{"dry-run": {"1"}}.Encode()
	}
	var a reloaded
	err = admin.Order(e.ctx, socket, path, &a)
	if errors.Is(err, admin.ErrNotRunning) && c.Socket == "" {
		return fmt.Errorf("reload: %w (a start reads the file; where admin.socket or name was changed in it, --socket names the socket of before)", err)
	}
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if c.Config != "" && !sameFile(a.File, c.Config) {
		fmt.Fprintf(e.stderr, "redoubt: what runs there has read %s, not %s\n", a.File, c.Config)
	}
	if c.JSON {
		if err := writeJSON(e.stdout, a); err != nil {
			return err
		}
	}
	if a.Error != "" {
		return coded{fmt.Errorf("reload: nothing has changed: %s", a.Error), a.Exit}
	}
	if !c.JSON {
		printReloaded(newPaper(e), a)
	}
	return nil
}

// socket is where the process answers.
func (c *reloadCmd) socket() (string, error) {
	if c.Socket != "" {
		return c.Socket, nil
	}
	at := verifyCmd{Config: c.Config}
	if err := at.locate(); err != nil {
		return "", err
	}
	if at.Config == "" {
		return "", errors.New("no configuration found in /etc/redoubt: name it with --config, or the process with --socket")
	}
	c.Config = at.Config
	role, err := loadEither(c.Config)
	return role.socket, err
}

// changed is where it is on record: beside the configuration.
func (c *reloadCmd) changed() string {
	at := *c
	if c.DryRun {
		return ""
	}
	if c.Socket != "" {
		f := new(facts)
		if _, err := admin.Ask(context.Background(), c.Socket, f); err != nil || f.File == "" {
			return ""
		}
		at.Config = f.File
	} else if _, err := at.socket(); err != nil {
		return ""
	}
	return ofDir(filepath.Dir(at.Config))
}

// sameFile says whether two paths are of one file.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

func printReloaded(p *paper, a reloaded) {
	what := "changed"
	if a.DryRun {
		what = "would change"
	}
	line := func(what string, c config.Change) {
		text := fmt.Sprintf("%s: %s -> %s", c.Key, c.Before, c.After)
		if c.Restart != "" {
			text += " (" + c.Restart + ")"
		}
		p.wrap(fmt.Sprintf("%-15s  ", what), text)
	}
	for _, c := range a.Changed {
		line(what, c)
	}
	for _, c := range a.Waiting {
		line("needs a restart", c)
	}
	if len(a.Changed)+len(a.Waiting) == 0 {
		p.wrap("", a.File+" says what is in force already")
	}
	if a.Restart != "" {
		p.wrap("", a.Restart)
	}
}
