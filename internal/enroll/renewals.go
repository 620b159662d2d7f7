package enroll

import (
	"errors"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Each certificate takes a line in the CA's ledger, which is bounded, until long
// after its end. A host that was taken over could fill it, and nobody would get a
// certificate any more; so each host has a number of renewals in a third of a
// certificate's life. One is what it needs, three more are for a rotation of the
// root, and the rest for restarts in between and answers that were lost.
const renewalsEach = 10

var errTooOften = errors.New("this host has renewed too often: it is to try again later")

// renewals counts by identity. It grows with the hosts of the deployment only: who is
// counted has proved that it is one.
type renewals struct {
	mu   sync.Mutex
	each map[identity.ID]*renewalCount
}

type renewalCount struct {
	began time.Time
	n     int
	asked time.Duration // when the last challenge that it has answered was made
}

// allow counts a renewal that answers the challenge made at a moment. It says errStale of
// one that was answered before, and errTooOften of one too many.
func (r *renewals) allow(id identity.ID, asked time.Duration, now time.Time, life time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.each == nil {
		r.each = map[identity.ID]*renewalCount{}
	}
	c := r.each[id]
	if c == nil {
		c = &renewalCount{began: now, asked: -1}
		r.each[id] = c
	}
	if asked <= c.asked {
		return errStale
	}
	c.asked = asked
	if now.Sub(c.began) >= life/3 || now.Before(c.began) {
		c.began, c.n = now, 0
	}
	c.n++
	if c.n > renewalsEach {
		return errTooOften
	}
	return nil
}
