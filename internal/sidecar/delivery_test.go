package sidecar

import (
	"bytes"
	"testing"
	"time"
)

// during is an application to which something happens in the midst of the
// first write.
type during struct {
	bytes.Buffer
	event func()
}

func (w *during) Write(b []byte) (int, error) {
	if event := w.event; event != nil {
		w.event = nil
		event()
	}
	return w.Buffer.Write(b)
}

func newDelivery(t *testing.T, out *during) *delivery {
	t.Helper()
	d := &delivery{out: out, queue: newQueue(), changed: func(*known) {}}
	d.queue.push(slot{kind: local, answer: func(*known) []byte { return []byte("+PONG\r\n") }})
	return d
}

func TestAQueueThatEndsUnderALocalAnswer(t *testing.T) {
	out := &during{}
	d := newDelivery(t, out)
	out.event = func() { d.queue.close() } // the session's second goroutine, at its end
	if err := d.settle(); err != nil || out.String() != "+PONG\r\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestALaneLostUnderALocalAnswer: the second goroutine abandons the lane while
// the reader writes; the answer is given once, as it was asked for once.
func TestALaneLostUnderALocalAnswer(t *testing.T) {
	out := &during{}
	d := newDelivery(t, out)
	lost := make(chan int, 1)
	out.event = func() {
		go func() { lost <- d.abandon() }()
		// It waits for the pen, which nothing shows; this is time enough for one
		// that doesn't.
		select {
		case waiting := <-lost:
			t.Errorf("abandoned under a writer, %d waiting", waiting)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := d.settle(); err != nil {
		t.Error(err)
	}
	if waiting := <-lost; waiting != 0 || out.String() != "+PONG\r\n" {
		t.Errorf("%d waiting, the application got %q", waiting, out.String())
	}
}
