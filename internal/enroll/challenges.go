package enroll

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// A renewal is signed over a challenge of the CA's, so that who has seen one can't have it
// signed again: what the CA writes down of a renewal (that the host knows of a new root, say)
// would come true without the host. The host's clock plays no part in it.
//
// A challenge is the moment at which it was made, in nanoseconds of this process, and a
// MAC over that by a key that dies with the process. Nothing is kept of it: for each host
// there is the moment of the challenge that it renewed with last (renewals), and an older
// one, or that one again, is refused.
const (
	challengeSize = 8 + sha256.Size
	challengeLife = time.Minute
)

var errStale = errors.New("the renewal answers no challenge of this gateway, or one that was used or is older than a minute: it is to ask again")

type challenges struct {
	once  sync.Once
	key   [32]byte
	began time.Time
}

func (c *challenges) begin() {
	c.once.Do(func() {
		rand.Read(c.key[:]) // never fails since Go 1.24: the program ends instead
		c.began = time.Now()
	})
}

func (c *challenges) mac(moment []byte) []byte {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write(moment)
	return mac.Sum(nil)
}

// new makes one.
func (c *challenges) new() []byte {
	c.begin()
	moment := binary.BigEndian.AppendUint64(nil, uint64(time.Since(c.began)))
	return append(moment, c.mac(moment)...)
}

// moment is when a challenge was made, or errStale.
func (c *challenges) moment(challenge []byte) (time.Duration, error) {
	c.begin()
	if len(challenge) != challengeSize || !hmac.Equal(challenge[8:], c.mac(challenge[:8])) {
		return 0, errStale
	}
	made := time.Duration(binary.BigEndian.Uint64(challenge))
	if time.Since(c.began)-made > challengeLife {
		return 0, errStale
	}
	return made, nil
}
