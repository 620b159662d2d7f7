package lane

import (
	"bytes"
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

// sight is how a fence's answer looks.
type sight uint8

const (
	notYet     sight = iota // right as far as it goes
	inPlace                 // the fence's answer
	unanswered              // the engine answers nothing in its present state
	outOfPlace              // another command's reply
)

// states are how engines begin the error that every command gets for the state
// that they are in (server.c, processCommand): running a script for too long,
// loading their data, without their master.
var states = []string{"-BUSY ", "-LOADING ", "-MASTERDOWN "}

// longestState bounds such an error.
const longestState = 512

// look says what b begins with, and how many bytes that is.
func (n *nonce) look(b []byte) (int, sight) {
	if len(b) > 0 && b[0] == '-' {
		return lookAtState(b)
	}
	var want [echoLen]byte
	copy(want[:], echoHead)
	copy(want[len(echoHead):], n[:])
	copy(want[len(echoHead)+nonceLen:], "\r\n")
	k := min(len(b), echoLen)
	switch {
	case string(b[:k]) != string(want[:k]):
		return 0, outOfPlace
	case k < echoLen:
		return 0, notYet
	}
	return echoLen, inPlace
}

func lookAtState(b []byte) (int, sight) {
	b = b[:min(len(b), longestState)]
	for _, state := range states {
		k := min(len(b), len(state))
		if string(b[:k]) != state[:k] {
			continue
		}
		if end := bytes.Index(b, []byte("\r\n")); end >= 0 {
			return end + 2, unanswered
		}
		if len(b) < longestState {
			return 0, notYet
		}
	}
	return 0, outOfPlace
}
