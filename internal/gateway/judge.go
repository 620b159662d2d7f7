package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// A connection that is up is judged again whenever the credentials or the settings
// change, and once a certificate has ended:
//   - let in by other settings than are in force now: cut (settings.go);
//   - revoked, or under a CA that is believed no longer: cut, within a second of
//     the file's change;
//   - ended: cut, unless its host has shown here a newer certificate that is
//     good. So a host that renews keeps its connections however long they live,
//     and one that can't renew, because it was revoked, doesn't: a list of
//     revoked certificates leaves out those that have ended (RFC 5280 §3.3), and
//     a connection that outlived its certificate could not be cut by one.

// judgeEvery is how often it is looked for certificates that have ended.
const judgeEvery = time.Second

// judge says why a peer whose connection is up may not stay. Loops call it, so
// it must not block.
func (g *Gateway) judge(a *about) error {
	if err := g.settings().stays(a); err != nil {
		return err
	}
	p := a.peer
	if err := g.options.Credentials.Believes(p); err != nil {
		return err
	}
	now := time.Now()
	if now.Before(p.NotAfter) {
		return nil
	}
	newest := g.peers.newest(p.ID)
	if !now.Before(newest.NotAfter) {
		return fmt.Errorf("the certificate of %s ended at %s, and no newer one was shown", p.ID, p.NotAfter.UTC().Format(time.RFC3339))
	}
	return g.options.Credentials.Believes(newest)
}

// keepJudging has the loops judge whenever there is a reason, until ctx ends.
func (g *Gateway) keepJudging(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		changed := g.options.Credentials.Changed()
		g.loops.judge() // also at first: it may have changed before we asked
		g.awaitReason(ctx, changed, tick.C)
	}
}

func (g *Gateway) awaitReason(ctx context.Context, changed <-chan struct{}, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			return
		case now := <-tick:
			if g.peers.anyEnded(now) {
				return
			}
		}
	}
}

func (p *peers) newest(id identity.ID) tunnel.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.each[id]; s != nil {
		return s.newest
	}
	return tunnel.Peer{}
}

// anyEnded says whether a certificate has ended that a connection came with.
func (p *peers) anyEnded(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.each {
		if !now.Before(s.ends) {
			return true
		}
	}
	return false
}
