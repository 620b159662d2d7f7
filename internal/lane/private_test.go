package lane_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/lane"
)

// TestAPrivateLaneGivesEachReplyItsPlace, cut anywhere: plain ones, watched ones,
// replaced ones, ones that are for nobody, answers of our own, pushes between them, and
// in the end what isn't counted.
func TestAPrivateLaneGivesEachReplyItsPlace(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		c := &client{}
		p := &lane.Private{Client: c}
		var stream, want bytes.Buffer
		var watched, told []string
		expected, ours, skipped := 0, 0, 0
		reply := func(n int) string { return c.reply(n) }
		for n := range 200 {
			kind := r.IntN(5)
			if kind < 4 && r.IntN(10) == 0 {
				push := ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n"
				stream.WriteString(push)
				want.WriteString(push)
			}
			switch kind {
			case 0:
				p.Expect(1)
				stream.WriteString(reply(n))
				want.WriteString(reply(n))
			case 1:
				watched = append(watched, reply(n)[:min(len(reply(n)), 20)])
				p.Watch(func(head []byte) { told = append(told, string(head[:min(len(head), 20)])) })
				stream.WriteString(reply(n))
				want.WriteString(reply(n))
			case 2:
				p.Replace(func() []byte { return []byte("+instead\r\n") })
				stream.WriteString("-ERR wrong\r\n")
				want.WriteString("+instead\r\n")
			case 3:
				p.Skip("+for nobody\r\n", func() { skipped++ })
				stream.WriteString("+for nobody\r\n")
				expected--
				skipped--
			default:
				if stream.Len() == 0 || r.IntN(2) == 0 {
					continue
				}
				ours++
				p.Answer(func() []byte { return []byte("+ours\r\n") })
				want.WriteString("+ours\r\n")
				continue
			}
			expected++
		}
		p.Uncount()
		stream.WriteString("no RESP at all")
		want.WriteString("no RESP at all")
		for stream.Len() > 0 {
			if err := p.Received(stream.Next(1 + r.IntN(200))); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if !bytes.Equal(c.got, want.Bytes()) {
			t.Fatalf("seed %d: got %.300q, want %.300q", seed, c.got, want.Bytes())
		}
		if skipped != 0 {
			t.Fatalf("seed %d: %d too few or many are told of what is for nobody", seed, skipped)
		}
		if c.answered != expected+ours || fmt.Sprint(told) != fmt.Sprint(watched) {
			t.Fatalf("seed %d: %d answered of %d, told %q, want %q", seed, c.answered, expected+ours, told, watched)
		}
	}
}

func TestAPrivateLaneSeesWhatIsWrong(t *testing.T) {
	for replies, want := range map[string]struct {
		err error
		got string
	}{
		"+a\r\n+b\r\n+c\r\n": {lane.ErrUnasked, "+a\r\n+b\r\n"},
		"+a\r\nhello\r\n":    {lane.ErrMalformed, "+a\r\n"},
		"+a\r\n>1\r\n+x\r\n": {nil, "+a\r\n>1\r\n+x\r\n"},
	} {
		c := &client{}
		p := &lane.Private{Client: c}
		p.Expect(2)
		if err := p.Received([]byte(replies)); !errors.Is(err, want.err) || string(c.got) != want.got {
			t.Errorf("%q: %v, %q", replies, err, c.got)
		}
	}
	c := &client{}
	p := &lane.Private{Client: c}
	p.Replace(func() []byte { return nil })
	if err := p.Received([]byte("+OK\r\n")); !errors.Is(err, lane.ErrNotRejected) || len(c.got) > 0 {
		t.Errorf("a command that must be rejected: %v, %q", err, c.got)
	}
}

// TestASeizedLaneGoesOnWhereItWas: a large reply is under way to the client that has the
// lane alone; its rest goes to that client, and what others would have sent comes back,
// in order.
func TestASeizedLaneGoesOnWhereItWas(t *testing.T) {
	for _, perClient := range []bool{false, true} {
		get := []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
		l := lane.New()
		l.FencePerClient = perClient
		owner, a, b := &client{id: 0}, &client{id: 1}, &client{id: 2}
		l.Send(owner, get, 2)
		l.Answer(owner, []byte("+ours\r\n"))
		batch := l.Flush()
		echo := bytes.Index(batch, []byte("$16\r\n"))
		receive := func(received func(string) error, s string) {
			t.Helper()
			if err := received(s); err != nil {
				t.Fatal(err)
			}
		}
		shared := func(s string) error { return l.Received(copy(l.Buffer(), s)) }
		receive(shared, string(batch[echo:echo+3]))
		if l.Owner() != nil {
			t.Fatal("the client has the lane before the fence is answered: what comes of it would be taken for its reply")
		}
		receive(shared, string(batch[echo+3:echo+23]))
		receive(shared, "$10\r\n01234")
		if l.Owner() != owner {
			t.Fatal("the client hasn't got the lane alone")
		}
		l.Send(a, []byte("a1"), 1)
		l.Send(a, []byte("a2"), 1)
		l.Send(b, []byte("b1"), 1)
		l.Send(owner, []byte("own"), 1)
		l.Answer(a, []byte("+a\r\n"))
		l.Send(a, []byte("a3"), 1)
		p, own, others := l.Seize()
		if string(own) != "own" {
			t.Errorf("the owner's unsent commands are %q", own)
		}
		var left []string
		for _, u := range others {
			left = append(left, fmt.Sprintf("%d %s%s %d", u.Client.(*client).id, u.Commands, u.Answer, u.N))
		}
		if got, want := strings.Join(left, ", "), "1 a1a2 2, 2 b1 1, 1 +a\r\n 1, 1 a3 1"; got != want {
			t.Errorf("others would have sent %q, want %q", got, want)
		}
		receive(func(s string) error { return p.Received([]byte(s)) }, "56789\r\n$1\r\nx\r\n+last\r\n")
		if got, want := string(owner.got), "$10\r\n0123456789\r\n$1\r\nx\r\n+ours\r\n+last\r\n"; got != want {
			t.Errorf("the owner got %q, want %q", got, want)
		}
	}
}

// TestADoubtfulReplyEndsTheCountOrNot, cut anywhere: an error is one reply, a push that
// confirms a subscription is one, other pushes are none, and anything else is the end.
func TestADoubtfulReplyEndsTheCountOrNot(t *testing.T) {
	const message = ">3\r\n$7\r\nmessage\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n"
	for came, want := range map[string]struct {
		first   string
		counted bool
	}{
		"-ERR unknown command\r\n":                                     {"-", true},
		message + "-NOPERM x\r\n":                                      {"-", true},
		">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n":                   {">", true},
		message + ">3\r\n$12\r\npunsubscribe\r\n_\r\n:0\r\n" + message: {">", true},
		"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n":                   {"*", false},
		message + "+QUEUED\r\n":                                        {"+", false},
	} {
		for cut := range len(came) {
			c := &client{}
			p := &lane.Private{Client: c}
			told := ""
			p.Doubt(func(first []byte) { told += string(first[:1]) })
			for _, part := range []string{came[:cut], came[cut:]} {
				if err := p.Received([]byte(part)); err != nil {
					t.Fatalf("%q cut at %d: %v", came, cut, err)
				}
			}
			if told != want.first || c.answered != 1 || string(c.got) != came {
				t.Errorf("%q cut at %d: told %q, %d answered, %q", came, cut, told, c.answered, c.got)
			}
			if err := p.Received([]byte("+unasked\r\n")); errors.Is(err, lane.ErrUnasked) != want.counted {
				t.Errorf("%q: %v", came, err)
			}
		}
	}
}

func TestAReplyIsMadeOver(t *testing.T) {
	for came, want := range map[string]string{
		"%1\r\n$2\r\nid\r\n:7\r\n":               "<%1\r\n$2\r\nid\r\n:7\r\n>",
		"-ERR x\r\n":                             "-ERR x\r\n",
		"-" + strings.Repeat("x", 1000) + "\r\n": "-" + strings.Repeat("x", 1000) + "\r\n",
	} {
		for cut := range len(came) {
			c := &client{}
			p := &lane.Private{Client: c}
			p.Expect(1)
			p.Remake(func(reply []byte) []byte { return fmt.Appendf(nil, "<%s>", reply) })
			p.Expect(1)
			for _, part := range []string{"+a\r\n" + came[:cut], came[cut:] + "+b\r\n"} {
				if err := p.Received([]byte(part)); err != nil {
					t.Fatalf("%q cut at %d: %v", came, cut, err)
				}
			}
			if got := string(c.got); got != "+a\r\n"+want+"+b\r\n" || c.answered != 3 {
				t.Errorf("%q cut at %d: %q, %d", came, cut, got, c.answered)
			}
		}
	}
	p := &lane.Private{Client: &client{}}
	p.Remake(func(reply []byte) []byte { return reply })
	if err := p.Received([]byte("$300\r\n" + strings.Repeat("x", 300) + "\r\n")); !errors.Is(err, lane.ErrMalformed) {
		t.Errorf("a reply that is too long: %v", err)
	}
}

// TestAPrivateLaneKnowsWhenSubscriptionsStand: where replies aren't counted, messages
// and the ends of other subscriptions are no confirmations.
func TestAPrivateLaneKnowsWhenSubscriptionsStand(t *testing.T) {
	frame := func(kind string) string {
		return fmt.Sprintf("*3\r\n$%d\r\n%s\r\n$1\r\nc\r\n:1\r\n", len(kind), kind)
	}
	message := "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$19\r\n*3\r\n$9\r\nsubscribe\r\n\r\n"
	for name, given := range map[string]struct {
		channels int
		before   string // nothing is told yet
		last     string
	}{
		"one":               {1, "", frame("subscribe")},
		"patterns":          {1, "", frame("psubscribe")},
		"shards":            {1, "", frame("ssubscribe")},
		"a push":            {1, "", ">" + frame("subscribe")[1:]},
		"three":             {3, frame("subscribe") + frame("psubscribe"), frame("subscribe")},
		"behind messages":   {1, strings.Repeat(message, 3), frame("subscribe")},
		"behind an end":     {1, frame("unsubscribe") + frame("punsubscribe"), frame("subscribe")},
		"behind a pong":     {2, frame("subscribe") + "*2\r\n$4\r\npong\r\n$0\r\n\r\n", frame("subscribe")},
		"refused":           {5, frame("subscribe"), "-NOPERM no\r\n"},
		"in a simple reply": {1, "+3\r\n:3\r\n$19\r\n*3\r\n$9\r\nsubscribe\r\n\r\n", frame("subscribe")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1000} {
				c := &client{}
				p := &lane.Private{Client: c}
				told := 0
				p.Uncount()
				p.Subscribe(given.channels, func() { told++ })
				for _, part := range []struct {
					bytes string
					told  int
				}{{given.before, 0}, {given.last, 1}, {frame("subscribe"), 1}} {
					for rest := part.bytes; rest != ""; rest = rest[min(size, len(rest)):] {
						if err := p.Received([]byte(rest[:min(size, len(rest))])); err != nil {
							t.Fatal(err)
						}
					}
					if told != part.told {
						t.Fatalf("behind %q, %d bytes at a time: told %d times", part.bytes, size, told)
					}
				}
			}
		})
	}
}

// TestAReplyForNobodyMustBeThatReply.
func TestAReplyForNobodyMustBeThatReply(t *testing.T) {
	for reply, want := range map[string]error{"+OK\r\n": nil, "-BUSY a script\r\n": nil, "+other\r\n": lane.ErrFence, "$2\r\nOK\r\n": lane.ErrFence} {
		c := &client{}
		p := &lane.Private{Client: c}
		told := false
		p.Skip("+OK\r\n", func() { told = true })
		p.Expect(1)
		err := p.Received([]byte(reply + "+for the client\r\n"))
		if !errors.Is(err, want) || told != (want == nil) || strings.Contains(string(c.got), reply) {
			t.Errorf("%q: %v, told %v, the client got %q", reply, err, told, c.got)
		}
	}
}
