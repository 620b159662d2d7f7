package sidecar

import (
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// A member is an application connection in the list of all, whoever serves it:
// what CLIENT LIST shows and the limit counts.
type member struct {
	number        int64 // in the order of their coming
	since         time.Time
	remote, local net.Addr
	profile       atomic.Pointer[profile]
	generation    atomic.Uint64 // of the route that its first lane had; 0: it had none (route.go)
}

// enter puts a connection on the list, if there is room.
func (c *Sidecar) enter(remote, local net.Addr) (*member, bool) {
	m := &member{number: c.lastID.Add(1), since: time.Now(), remote: remote, local: local}
	m.profile.Store(&profile{id: m.number, protocol: 2})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.members) >= c.limits.Connections {
		return nil, false
	}
	c.members[m] = struct{}{}
	return m, true
}

func (c *Sidecar) leave(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// all is the list in the order of their coming.
func (c *Sidecar) all() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Keys(c.members), func(a, b *member) int { return int(a.number - b.number) })
}
