package sidecar

import (
	"context"
	"slices"
)

// Status is what a sidecar tells of itself.
type Status struct {
	Address        string          `json:"address"`
	CacheReachable bool            `json:"cache_reachable" metric:"redoubt_sidecar_cache_reachable" help:"0 while no gateway serves: by the last attempt, which is made for who asks while no connection stands."`
	Connections    int             `json:"connections" metric:"redoubt_sidecar_connections" help:"Application connections."`
	Most           int             `json:"connections_limit" metric:"redoubt_sidecar_connections_limit" help:"How many there may be (limits.connections)."`
	OwnLanes       int             `json:"own_lanes" metric:"redoubt_sidecar_own_lanes" help:"Application connections that have, or are getting, a tunnel connection of their own (docs/decisions/0041)."`
	MostOwn        int             `json:"own_lanes_limit" metric:"redoubt_sidecar_own_lanes_limit" help:"How many there may be (limits.own_lanes)."`
	Standby        int             `json:"standby_lanes" metric:"redoubt_sidecar_standby_lanes" help:"Tunnel connections that are kept ready for who next needs one of his own (docs/decisions/0164); they count against the same limit."`
	SharedLanes    int             `json:"shared_lanes" metric:"redoubt_sidecar_shared_lanes" help:"Tunnel connections that all other application connections share."`
	Outstanding    int             `json:"outstanding" metric:"redoubt_sidecar_outstanding_commands" help:"Commands on shared lanes that wait for their replies."`
	Commands       int64           `json:"commands" metric:"redoubt_sidecar_commands_total" help:"Commands sent over shared lanes since the start."`
	WrongPasswords int64           `json:"wrong_passwords" metric:"redoubt_sidecar_wrong_passwords_total" help:"Logins of local programs with a wrong password, since the start."`
	LanesLost      int64           `json:"lanes_lost" metric:"redoubt_sidecar_shared_lanes_lost_total" help:"Shared lanes that ended while they were in use, since the start."`
	Unordered      int64           `json:"unordered" metric:"redoubt_sidecar_unordered_total" help:"Commands on their way to a private lane that those which came later over other connections have not waited for, since that would have taken too long (docs/decisions/0163), since the start."`
	Gateways       []GatewayStatus `json:"gateways"`
	Steps          int64           `json:"gateway_steps" metric:"redoubt_sidecar_gateway_steps_total" help:"Times that the sidecar went on to another gateway, whose cache is another one, since the start."`

	Refused []Refusal `json:"refused"` // by command
	Probed  int64     `json:"probed" metric:"redoubt_sidecar_probes_refused_total" help:"Commands that redoubt verify tried through the application's port and was refused, since the start; they are not among redoubt_refused_total. A program that calls itself so (CLIENT SETINFO LIB-NAME redoubt-verify) counts here too."`
}

// GatewayStatus is one of the gateways that it may use.
type GatewayStatus struct {
	Name    string `json:"name" label:"gateway"`
	Current bool   `json:"current" metric:"redoubt_sidecar_gateway_current" help:"1 for the gateway that all connections of this host use, 0 for the others it may go on to."`
}

// Current is the name of the gateway that it uses.
func (s *Status) Current() string {
	return s.Gateways[slices.IndexFunc(s.Gateways, func(g GatewayStatus) bool { return g.Current })].Name
}

// Status may be called by any goroutine while Run runs.
func (c *Sidecar) Status(ctx context.Context) Status {
	now := c.settingsNow()
	s := Status{Address: c.Addr().String(), CacheReachable: !c.away.Load(), Most: now.Connections, OwnLanes: int(c.own.Load()), Standby: int(c.standbys.Load()), MostOwn: now.OwnLanes, WrongPasswords: c.strikes.Load(), Refused: c.refusals.list(), Probed: c.refusals.probes.Load()}
	at := c.gateways.now()
	for i, g := range c.gateways.all {
		s.Gateways = append(s.Gateways, GatewayStatus{g.Name, i == at.index})
	}
	s.Steps = int64(at.generation) - 1
	counted := make(chan func(*Status), len(c.loops))
	for range c.each(func(l *loop) { counted <- l.count() }) {
		select {
		case add := <-counted:
			add(&s)
		case <-ctx.Done():
		}
	}
	return s
}

// count is a loop's part.
func (l *loop) count() func(*Status) {
	lanes, outstanding, commands, lost := 0, 0, l.commandsSent, l.lanesLost
	for _, g := range l.order {
		if g.link != nil {
			lanes++
			outstanding += g.link.books.Outstanding()
		}
	}
	guests, unordered := len(l.guests), l.unordered
	return func(s *Status) {
		s.Connections += guests
		s.SharedLanes += lanes
		s.Outstanding += outstanding
		s.Commands += commands
		s.LanesLost += lost
		s.Unordered += unordered
	}
}

// Alive says whether every event loop turns, before ctx ends. It is for the time between
// ready and the end of Run's ctx.
func (c *Sidecar) Alive(ctx context.Context) bool {
	turned := make(chan struct{}, len(c.loops))
	if c.each(func(*loop) { turned <- struct{}{} }) < len(c.loops) {
		return false
	}
	for range c.loops {
		select {
		case <-turned:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
