package lockdown

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// forewarn looks for what would surprise: people who could not log in any more, and
// packet filters of others.
func (p *Plan) forewarn(ctx context.Context, w Want, ssh *host.SSH) {
	for _, part := range w.Without {
		p.note("%s is left out: redoubt verify goes on asking for it", part)
	}
	if ssh != nil {
		p.forewarnOfKeys(ssh)
	}
	if !slices.Contains(w.Without, Firewall) {
		p.forewarnOfSessions(w)
		p.forewarnOfNeighbours(ctx, w)
	}
}

// forewarnOfKeys: root may not log in, so somebody else must have a key.
func (p *Plan) forewarnOfKeys(ssh *host.SSH) {
	text, err := os.ReadFile(sshdConfig)
	if err == nil && !includesDropIns(string(text)) {
		p.note("%s doesn't include sshd_config.d/*.conf, so that the drop-in has no effect: make this its first line: Include /etc/ssh/sshd_config.d/*.conf", sshdConfig)
	}
	if len(ssh.Answers) == 0 {
		return
	}
	settings := ssh.Answers[0].Settings
	for _, keyword := range []string{"authorizedkeyscommand", "trustedusercakeys"} {
		if v := settings[keyword]; v != "" && v != "none" {
			return // keys come from elsewhere
		}
	}
	accounts, err := host.Accounts()
	if err != nil {
		return
	}
	for _, a := range accounts {
		if a.UID == "0" || !a.Login() {
			continue
		}
		for _, pattern := range strings.Fields(settings["authorizedkeysfile"]) {
			path := strings.NewReplacer("%%", "%", "%h", a.Home, "%u", a.Name).Replace(pattern)
			if !filepath.IsAbs(path) {
				path = filepath.Join(a.Home, path)
			}
			if keys, err := statedir.ReadFile(path, longest, "list of keys"); err == nil && len(bytes.TrimSpace(keys)) > 0 {
				return
			}
		}
	}
	p.note("nobody could log in by ssh: root may not, passwords don't count, and no other user has a key; give each person an account with a key first")
}

func includesDropIns(config string) bool {
	for line := range strings.Lines(config) {
		fields := strings.Fields(strings.ToLower(line))
		if len(fields) > 1 && fields[0] == "include" && strings.HasSuffix(fields[1], "sshd_config.d/*.conf") {
			return true
		}
		if len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			return false // what stands before it counts first
		}
	}
	return false
}

// forewarnOfSessions: whoever is logged in from elsewhere than a bastion stays, and
// doesn't come back.
func (p *Plan) forewarnOfSessions(w Want) {
	var from []string
	for _, peer := range host.Peers(w.Rules.SSH) {
		known := slices.ContainsFunc(w.Rules.Bastions, func(b netip.Prefix) bool { return b.Contains(peer) })
		if !known && !peer.IsLoopback() && !slices.Contains(from, peer.String()) {
			from = append(from, peer.String())
		}
	}
	if len(from) > 0 {
		p.note("somebody is logged in by ssh from %s, which is no bastion: this session stays, a new one from there is refused", strings.Join(from, ", "))
	}
}

// neighbours are other packet filters, by what nft lists of them.
var neighbours = []struct{ sign, means string }{
	{"table inet firewalld", "firewalld is active: its rules stay, and a packet must pass both; open the cache port there too (firewall-cmd --add-port=%d/tcp)"},
	{"chain ufw-user-input", "ufw is active: its rules stay, and a packet must pass both; open the cache port there too (ufw allow %d/tcp)"},
	{"chain DOCKER", "Docker is active: the ports that it publishes are forwarded to containers and don't pass this table; publish none on other addresses than 127.0.0.1"},
}

func (p *Plan) forewarnOfNeighbours(ctx context.Context, w Want) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nft", "list", "ruleset").Output()
	if err != nil {
		return // ReadBack has said why
	}
	for _, n := range neighbours {
		if strings.Contains(string(out), n.sign) {
			if strings.Contains(n.means, "%d") {
				if w.Rules.Cache == 0 {
					continue // nothing of ours is to be reached
				}
				p.note(n.means, w.Rules.Cache)
				continue
			}
			p.note("%s", n.means)
		}
	}
	if withSystemd() && (command(ctx, "", "systemctl", "--quiet", "is-enabled", "nftables.service") == nil || active(ctx, "nftables.service")) {
		p.note("nftables.service is enabled: whenever it is started, reloaded or stopped it empties the whole ruleset, and %s loads ours again at once; what /etc/nftables.conf closes is closed besides", keeperUnit)
	}
	if names, _ := os.ReadFile("/proc/net/ip_tables_names"); len(bytes.TrimSpace(names)) > 0 {
		p.note("rules of the old iptables are loaded too (iptables-legacy -S): a packet must pass both")
	}
}
