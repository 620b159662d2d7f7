package sidecar

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// A credential is a user and password, kept in memory for as long as a guest
// uses it: a new lane must prove it again. It is never logged.
type credential struct{ user, password []byte }

func (c credential) clone() credential {
	return credential{bytes.Clone(c.user), bytes.Clone(c.password)}
}

// digest is a keyed hash of a credential, by which it is compared: no password is.
type digest [sha256.Size]byte

// digestOf is a credential's. Nobody but us sees or gives one, so the key needs no more
// than to come first.
func (c *Sidecar) digestOf(who credential) digest {
	var room [256]byte
	b := append(room[:0], c.digestKey[:]...)
	b = binary.AppendUvarint(b, uint64(len(who.user))) // no two credentials look alike
	b = append(b, who.user...)
	b = append(b, who.password...)
	defer clear(b)
	return sha256.Sum256(b)
}

// groupKey is what guests must have in common to share a lane.
type groupKey struct {
	credential digest
	protocol   int
	db         int
}

// Wrong credentials are remembered for a second, so that who repeats one costs the
// cache host one proof a second. A password that becomes good is taken that much later.
const (
	wrongFor  = time.Second
	mostWrong = 4096
)

// wrongs are credentials that the engine has just refused, with its words.
type wrongs struct {
	known map[digest]wrong
	swept time.Time
}

type wrong struct {
	refusal []byte
	until   time.Time
}

func (w *wrongs) add(d digest, refusal []byte, now time.Time) {
	if w.known == nil {
		w.known = map[digest]wrong{}
	}
	if now.Sub(w.swept) >= wrongFor {
		w.swept = now
		for d, old := range w.known {
			if !now.Before(old.until) {
				delete(w.known, d)
			}
		}
	}
	if len(w.known) < mostWrong {
		w.known[d] = wrong{refusal, now.Add(wrongFor)}
	}
}

// recall is the engine's refusal of a moment ago; nil if there was none.
func (w *wrongs) recall(d digest, now time.Time) []byte {
	if found, ok := w.known[d]; ok && now.Before(found.until) {
		return found.refusal
	}
	return nil
}
