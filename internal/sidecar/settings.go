package sidecar

// Settings are what may change while a sidecar runs.
type Settings struct {
	Connections, OwnLanes int  // as in Limits
	FencePerGuest         bool // as in Options
}

// Change puts other settings in force. Connections and lanes that are more than a limit
// now allows stay, and no other is let in before so many have gone. Another fence is for
// lanes that are made from now on: those that are shared get a successor at once, as
// with a new certificate.
func (c *Sidecar) Change(s Settings) {
	before := c.settingsNow()
	c.put(s)
	if s.FencePerGuest != before.FencePerGuest {
		c.Refresh()
	}
}

func (c *Sidecar) put(s Settings) {
	limits := Limits{Connections: s.Connections, OwnLanes: s.OwnLanes}.withDefaults().fitFiles(c.log)
	s.Connections, s.OwnLanes = limits.Connections, limits.OwnLanes
	c.inForce.Store(&s)
}

func (c *Sidecar) settingsNow() *Settings { return c.inForce.Load() }
