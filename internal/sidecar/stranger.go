package sidecar

import (
	"context"
	"net"
	"slices"
	"time"
)

// An examiner proves strangers, one at a time. The loop gives it the next one; it ends
// when nobody has come for a while.
type examiner struct {
	next chan *proof // has room for one; closed at its end
}

// examineNext gives strangers to examiners that have nothing to do. Who has given no
// wrong password on his connection is first, and among those the last to come: in a
// crowd of guesses whoever comes now waits for those that are being tried, no longer.
func (l *loop) examineNext() {
	for len(l.idle) > 0 || l.examiners < l.share(maxExaminers) {
		p := l.nextStranger()
		if p == nil {
			return
		}
		if len(l.idle) == 0 {
			e := &examiner{next: make(chan *proof, 1)}
			l.examiners++
			l.car.start(func() { l.examine(e) })
			l.idle = append(l.idle, e)
		}
		last := len(l.idle) - 1
		l.idle[last].next <- p
		l.idle = l.idle[:last]
	}
}

func (l *loop) nextStranger() *proof {
	for _, queue := range []*[]*proof{&l.strangers, &l.struck} {
		for len(*queue) > 0 {
			last := len(*queue) - 1
			p := (*queue)[last]
			(*queue)[last] = nil
			*queue = (*queue)[:last]
			if p.wanted() {
				return p
			}
			delete(l.proofs, p.key)
			clear(p.who.password)
		}
	}
	return nil
}

// expireProofs answers strangers who have waited for an examiner as long as a dial may
// take.
func (l *loop) expireProofs(now time.Time) {
	for _, queue := range []*[]*proof{&l.strangers, &l.struck} {
		for len(*queue) > 0 && now.Sub((*queue)[0].since) >= l.car.limits.Dial {
			p := (*queue)[0]
			*queue = (*queue)[1:]
			l.judged(p, proven{queued: true})
		}
	}
	for len(l.answers) > 0 && !now.Before(l.answers[0].at) {
		r := l.answers[0]
		l.answers = l.answers[1:]
		if r.guest.phase == waiting {
			r.guest.answer(r.reply)
			l.resume(r.guest)
		}
	}
}

// strike counts a wrong password. A person is told of the first, and then once a minute
// as long as there are some: who guesses must not fill the log.
func (l *loop) strike(g *guest) {
	g.struck = true
	times, now, told := l.car.strikes.Add(1), time.Now().Unix(), l.car.toldOfStrikes.Load()
	if now-told >= strikesEvery && l.car.toldOfStrikes.CompareAndSwap(told, now) {
		l.car.log.Warn("a wrong password was given on this host", "times_since_start", times)
	}
}

const strikesEvery = 60 // seconds

// A late answer is what a guest is told whose credential was wrong a moment ago. It waits
// for that a little, so that a crowd that repeats one does not keep the loop busy.
type lateAnswer struct {
	guest *guest
	reply []byte
	at    time.Time
}

func (l *loop) refuseLater(g *guest, reply []byte, now time.Time) {
	l.strike(g)
	l.answers = append(l.answers, lateAnswer{g, reply, now.Add(refuseAfter)})
}

// nextExpiry is when expireProofs has something to do.
func (l *loop) nextExpiry(now time.Time) time.Duration {
	due := time.Duration(-1)
	if len(l.answers) > 0 {
		due = max(0, l.answers[0].at.Sub(now))
	}
	for _, queue := range [][]*proof{l.strangers, l.struck} {
		if len(queue) > 0 {
			if left := max(0, queue[0].since.Add(l.car.limits.Dial).Sub(now)); due < 0 || left < due {
				due = left
			}
		}
	}
	return due
}

// examine is an examiner's goroutine. A lane on which a password was wrong is as it was
// before, and used for the next stranger.
func (l *loop) examine(e *examiner) {
	s := spare{car: l.car}
	defer s.close()
	for {
		select {
		case p, ok := <-e.next:
			if !ok {
				return
			}
			r := s.prove(p)
			told := l.post(func() { l.judged(p, r) })
			if r.closeUnless(told); !told {
				return
			}
			if r.wrong() {
				select {
				case <-time.After(wrongRest):
				case <-l.car.hard.Done():
				}
			}
			if !l.post(func() { l.free(e) }) {
				return
			}
		case <-time.After(spareFor):
			if !l.post(func() { l.dismiss(e) }) {
				return
			}
		}
	}
}

// free is called in the loop when an examiner is done.
func (l *loop) free(e *examiner) {
	l.idle = append(l.idle, e)
	l.examineNext()
}

// dismiss ends an examiner, unless it has got something to do meanwhile.
func (l *loop) dismiss(e *examiner) {
	if i := slices.Index(l.idle, e); i >= 0 {
		l.idle = slices.Delete(l.idle, i, i+1)
		l.examiners--
		close(e.next)
	}
}

// spare is a lane on which nobody is logged in yet.
type spare struct {
	car  *Sidecar
	conn net.Conn
	from uint64 // the generation of the route
}

func (s *spare) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// prove tries a stranger's credential, on the lane that there is or a fresh one.
func (s *spare) prove(p *proof) proven {
	ctx, cancel := context.WithTimeout(s.car.hard, s.car.limits.Dial)
	defer cancel()
	if s.conn != nil && s.from != s.car.gateways.now().generation {
		s.close()
	}
	if s.conn != nil {
		if r := s.try(ctx, p); r.err == nil || ctx.Err() != nil {
			return r
		} // the gateway or the engine had ended it
	}
	var err error
	if s.conn, s.from, err = s.car.gateways.dial(ctx); err != nil {
		s.conn = nil
		return proven{err: err}
	}
	return s.try(ctx, p)
}

func (s *spare) try(ctx context.Context, p *proof) proven {
	r := proveOn(ctx, s.conn, p.who, p.key.protocol, p.key.db)
	r.from = s.from
	s.car.learnMemory(ctx, &r)
	switch {
	case r.conn != nil: // it is the proof's now
		s.conn = nil
	case !r.wrong():
		s.close()
	}
	return r
}
