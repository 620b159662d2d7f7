package dossier

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// addHosts lists whom evidence is wanted from: those of deployment.yaml, and whoever else
// has a certificate that lives, such as the hosts of a group.
func (d *Dossier) addHosts(hosts *config.Deployment) error {
	distributed := slices.ContainsFunc(d.Reports, func(r Report) bool {
		return r.Vantage == evidence.CacheHost || r.Vantage == evidence.AppHost
	})
	if hosts == nil && !distributed {
		d.addMachine()
		return nil
	}
	groups := false
	if hosts != nil {
		for _, g := range hosts.Gateways {
			d.addHost(Host{Name: g.Name, Role: "cache host", Address: fmt.Sprintf("%s, port %d", listed(g.Address), g.Port), vantage: evidence.CacheHost})
		}
		for _, a := range hosts.Apps {
			h := Host{Name: a.Name, Role: "application host", Address: listed(append(slices.Clone(a.Address), a.Network...)), vantage: evidence.AppHost}
			if len(a.Network) > 0 {
				h.Role, h.vantage, groups = "group of application hosts", "", true
			}
			d.addHost(h)
		}
		for _, b := range hosts.Bastions {
			d.Bastions = append(d.Bastions, prefixText(b.Prefix))
		}
		d.SSHPort = hosts.SSHPort
	}
	if err := d.addLedger(groups); err != nil {
		return err
	}
	for _, r := range d.Reports {
		if r.Vantage == evidence.CacheHost || r.Vantage == evidence.AppHost {
			d.addHost(Host{Name: r.Host, Role: roleText(r.Vantage), Address: "not in deployment.yaml", vantage: r.Vantage})
		}
	}
	for i, h := range d.Hosts {
		d.Hosts[i].Reported = slices.ContainsFunc(d.Reports, func(r Report) bool {
			return r.Vantage == h.vantage && r.Host == h.Name
		}) || h.vantage == ""
	}
	return nil
}

// addMachine is the one host of redoubt up.
func (d *Dossier) addMachine() {
	h := Host{Name: "this machine", Role: "cache and application", Address: "loopback", vantage: evidence.OneMachine}
	for _, r := range d.Reports {
		if r.Vantage == evidence.OneMachine {
			h.Name, h.Reported = r.Host, true
		}
	}
	d.Hosts = []Host{h}
}

func (d *Dossier) addHost(h Host) {
	if !slices.ContainsFunc(d.Hosts, func(o Host) bool { return o.Name == h.Name && o.vantage == h.vantage }) {
		d.Hosts = append(d.Hosts, h)
	}
}

// addLedger adds the hosts that can get in by their certificates.
func (d *Dossier) addLedger(groups bool) error {
	if d.ca == nil {
		return nil
	}
	issued, err := d.ca.Issued()
	if err != nil {
		return err
	}
	for _, i := range issued {
		if i.Status != pki.Living {
			continue
		}
		h := Host{Name: i.Identity.Name(), Role: "application host", Address: "not in deployment.yaml", vantage: evidence.AppHost}
		switch {
		case i.Identity.Role() == identity.Gateway:
			h.vantage = evidence.CacheHost
			h.Role = roleText(h.vantage)
		case groups:
			h.Address = "of a group, by its certificate of " + i.Issued.Format(time.DateOnly)
		}
		d.addHost(h)
	}
	return nil
}

func roleText(v evidence.Vantage) string {
	if v == evidence.CacheHost {
		return "cache host"
	}
	return "application host"
}
