package lockdown

import (
	"context"
	"fmt"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/host"
)

// lookForSSH compares where ssh is served with where the packet filter looks for it.
// Elsewhere the filter would lock people out of a cache host, and leave ssh of an
// application host open to everybody. Only a person can say which of the two is right.
func (p *Plan) lookForSSH(ctx context.Context, w Want) error {
	elsewhere, _, err := host.SSHElsewhere(ctx, w.Rules.SSH)
	if err != nil || len(elsewhere) == 0 {
		return err
	}
	var at []string
	for _, l := range elsewhere {
		at = append(at, l.String())
	}
	have := strings.Join(at, ", ")
	p.Changes = append(p.Changes, Change{Part: Firewall, What: "where ssh is served", Have: have, Want: fmt.Sprintf("port %d", w.Rules.SSH)})
	p.refused = fmt.Errorf("ssh is served at %s, and the packet filter looks for it at port %d (deployment.yaml, ssh_port): make them one, there or in %s (Port; of a socket: systemctl edit ssh.socket, ListenStream=), and have sshd started anew", have, w.Rules.SSH, sshdConfig)
	p.note("apply will refuse: %v", p.refused)
	return nil
}
