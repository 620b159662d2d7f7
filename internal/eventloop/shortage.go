package eventloop

import (
	"errors"
	"slices"
	"syscall"
	"time"
)

// Passing tells a lack that can pass, of descriptors or memory, from a listener
// that is broken (accept(2)).
func Passing(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, func(lack error) bool {
		return errors.Is(err, lack)
	})
}

// A Shortage of what a listener needs for another connection is logged when it
// begins and when it is over, however often accepting is tried meanwhile: a
// connection that ends lets one in, and the next fails again.
type Shortage struct{ last time.Time }

// calm is how long nothing may have failed before a shortage counts as over.
const calm = time.Second

// Failed notes that a connection could not be accepted; it says whether that is
// news.
func (s *Shortage) Failed() (begins bool) {
	begins = s.last.IsZero()
	s.last = time.Now()
	return begins
}

// Accepted notes that one could; it says whether a shortage is over by that.
func (s *Shortage) Accepted() (over bool) {
	if s.last.IsZero() || time.Since(s.last) < calm {
		return false
	}
	s.last = time.Time{}
	return true
}
