package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/units"
)

type renderSystemdCmd struct {
	Role    string `arg:"" enum:"gateway,sidecar" help:"gateway or sidecar."`
	Program string `default:"${program}" placeholder:"PATH" help:"Where redoubt lies (${default})."`
	Out     string `placeholder:"DIR" help:"Write them below DIR (/etc, as a rule) instead of printing them."`
}

func (renderSystemdCmd) Help() string {
	return `Prints what systemd needs to run a role: the service with the tightest sandbox that it works in, the sidecar's socket, the users. docs/systemd.md says what the sandbox holds and why.

Example:

  redoubt render systemd gateway --out /etc
  systemd-sysusers && systemctl daemon-reload && systemctl enable --now redoubt-gateway`
}

func (c *renderSystemdCmd) Run(e *env) error {
	if !filepath.IsAbs(c.Program) || strings.ContainsAny(c.Program, " \t\n%$\"'\\") {
		return usage(fmt.Errorf("--program %q must be an absolute path of ordinary characters", c.Program), "redoubt render systemd --help")
	}
	role := identity.Gateway
	if c.Role == "sidecar" {
		role = identity.App
	}
	for _, f := range units.Files(role, c.Program) {
		if c.Out == "" {
			fmt.Fprintf(e.stdout, "# /etc/%s\n%s\n", f.Path, f.Text)
			continue
		}
		path := filepath.Join(c.Out, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := statedir.WriteFile(path, []byte(f.Text), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, path)
	}
	return nil
}
