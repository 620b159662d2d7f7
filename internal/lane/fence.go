package lane

import (
	"crypto/rand"
	"encoding/hex"
)

const (
	fenceHead = "*2\r\n$4\r\nECHO\r\n$16\r\n"
	nonceLen  = 16 // hexadecimal digits of 64 random bits
	fenceLen  = len(fenceHead) + nonceLen + 2

	echoHead = "$16\r\n"
	echoLen  = len(echoHead) + nonceLen + 2
)

type nonce [nonceLen]byte

// nonces are random numbers from the system, many a call: one a fence would be
// a system call a batch.
type nonces struct {
	pool [64 * nonceLen / 2]byte
	left []byte
}

func (r *nonces) next() (n nonce) {
	if len(r.left) == 0 {
		rand.Read(r.pool[:]) // never fails: the program ends instead
		r.left = r.pool[:]
	}
	hex.Encode(n[:], r.left[:nonceLen/2])
	r.left = r.left[nonceLen/2:]
	return n
}

func (n *nonce) appendFence(b []byte) []byte {
	b = append(b, fenceHead...)
	b = append(b, n[:]...)
	return append(b, "\r\n"...)
}

// passes says whether b begins with the fence's answer: whole, or as far as it
// goes.
func (n *nonce) passes(b []byte) bool {
	var want [echoLen]byte
	copy(want[:], echoHead)
	copy(want[len(echoHead):], n[:])
	copy(want[len(echoHead)+nonceLen:], "\r\n")
	k := min(len(b), echoLen)
	return string(b[:k]) == string(want[:k])
}
