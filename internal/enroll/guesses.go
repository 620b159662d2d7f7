package enroll

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Guessing a token's 256 bits is hopeless; the limits are there so that nobody
// tries, and fills the log and the CA's disk with it. Only failures count. One
// source can't use up what all have together, so that it takes more than one
// host to keep others from enrolling, and no longer than it goes on. Where a try comes
// from is the word of whoever ends TLS: one who lies about it can try what all may
// together, and refuse whom he likes, which he can without lying.
const (
	guessesEach = 5
	guessesAll  = 50
	guessWindow = time.Minute
)

var errTooMany = errors.New("too many tokens that were not good, from this host or in all: try again in a minute")

// guesses counts failures in windows of a minute.
type guesses struct {
	mu    sync.Mutex
	began time.Time
	all   int
	each  map[netip.Prefix]int // at most guessesAll of them
}

// try lets a source try once, if it may. Tries are one after the other, so that
// many at once are no way around the limits. A try that fails with errUnknown is
// a guess; who holds a token that is used or has expired doesn't guess.
func (g *guesses) try(source netip.Addr, now time.Time, check func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since := now.Sub(g.began); since >= guessWindow || since < 0 {
		g.began, g.all, g.each = now, 0, map[netip.Prefix]int{}
	}
	if g.all >= guessesAll || g.each[tunnel.SourceBlock(source)] >= guessesEach {
		return errTooMany
	}
	err := check()
	if errors.Is(err, errUnknown) || errors.Is(err, errBefore) {
		g.all++
		g.each[tunnel.SourceBlock(source)]++
	}
	return err
}
