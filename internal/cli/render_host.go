package cli

import (
	"io"

	"github.com/redoubt-cache/redoubt/internal/host"
)

type renderSSHCmd struct {
	Allow []string `enum:"tcp,agent,x11" placeholder:"WHAT" help:"What it forwards nevertheless: tcp, agent, x11, as ssh_forwards in deployment.yaml says."`
}

func (renderSSHCmd) Help() string {
	return `Prints a drop-in for sshd: keys only, nobody as root, nothing forwarded, no broken algorithms. It is what redoubt verify asks for (RD-121 to RD-124). Keep a session open until a new one has worked.

Example:

  redoubt render ssh > /etc/ssh/sshd_config.d/00-redoubt.conf
  sshd -t && systemctl reload ssh`
}

func (c *renderSSHCmd) Run(e *env) error {
	_, err := io.WriteString(e.stdout, host.SSHDropIn(c.Allow...))
	return err
}

type renderSysctlCmd struct{}

func (renderSysctlCmd) Help() string {
	return `Prints a drop-in for the kernel's settings: core dumps go nowhere, and a process can't look into another one of the same user. It is what redoubt verify asks for (RD-442, RD-445).

Example:

  redoubt render sysctl > /etc/sysctl.d/60-redoubt.conf
  sysctl --system`
}

func (renderSysctlCmd) Run(e *env) error {
	_, err := io.WriteString(e.stdout, host.SysctlDropIn)
	return err
}
