package resp_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/resp"
	"pgregory.net/rapid"
)

// step is what a scan of a stream came to: the frames' lengths, then why it
// ended.
type step struct {
	frames []string
	end    resp.Outcome
	fault  string
}

// scanCommands feeds stream in pieces of the given sizes (the last repeats)
// and reports each command as it was put together from what was consumed.
func scanCommands(s *resp.CommandScanner, stream []byte, sizes []int) step {
	var out step
	var held, frame []byte // unconsumed; consumed of the current command
	body := false
	for i := 0; ; i++ {
		n := 0
		for {
			if !body {
				h, o := s.Head(held)
				if o == resp.Malformed {
					return step{out.frames, o, s.Fault()}
				}
				if o == resp.More {
					break
				}
				frame = append(frame[:0], held[:h.Len]...)
				held = held[h.Len:]
				if h.Inline || h.Argc == 0 {
					out.frames = append(out.frames, string(frame))
					continue
				}
				body = true
			}
			k, o := s.Body(held)
			frame = append(frame, held[:k]...)
			held = held[k:]
			if o == resp.Malformed {
				return step{out.frames, o, s.Fault()}
			}
			if o == resp.More {
				break
			}
			out.frames = append(out.frames, string(frame))
			body = false
		}
		if len(stream) == 0 {
			return out
		}
		n = min(max(1, sizes[min(i, len(sizes)-1)]), len(stream))
		held = append(held, stream[:n]...)
		stream = stream[n:]
	}
}

// scanReplies does the same for replies, which are consumed whatever comes.
func scanReplies(stream []byte, sizes []int) step {
	var s resp.ReplyScanner
	var out step
	var frame []byte
	for i := 0; len(stream) > 0; i++ {
		k := min(max(1, sizes[min(i, len(sizes)-1)]), len(stream))
		piece := stream[:k]
		stream = stream[k:]
		for len(piece) > 0 {
			n, o := s.Scan(piece)
			frame = append(frame, piece[:n]...)
			piece = piece[n:]
			if o == resp.Malformed {
				return step{out.frames, o, ""}
			}
			if o == resp.Whole {
				out.frames = append(out.frames, string(frame))
				frame = frame[:0]
			}
		}
	}
	return out
}

func authenticated() *resp.CommandScanner { return &resp.CommandScanner{Authenticated: true} }

func TestCommandsAreFoundWhereverTheStreamIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []string
		for range rapid.IntRange(1, 6).Draw(t, "commands") {
			var c []byte
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				c = []byte(rapid.SampledFrom([]string{"\r\n", "\n", "*0\r\n", "*-1\r\n", " \t\r\n"}).Draw(t, "empty"))
			case 1:
				c = []byte(rapid.StringMatching(`[A-Za-z]{1,9}( [a-z0-9"]{1,5}){0,3}\r?\n`).Draw(t, "inline"))
			default:
				c = resp.AppendCommand(nil, rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 90), 1, 5).Draw(t, "args")...)
			}
			stream = append(stream, c...)
			want = append(want, string(c))
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 20).Draw(t, "sizes")
		got := scanCommands(authenticated(), stream, sizes)
		if got.end != resp.More || !equal(got.frames, want) {
			t.Fatalf("stream %q in pieces of %v:\n got %q (%v %s)\nwant %q", stream, sizes, got.frames, got.end, got.fault, want)
		}
	})
}

func TestRepliesAreFoundWhereverTheStreamIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []string
		for range rapid.IntRange(1, 5).Draw(t, "replies") {
			r := drawReply(t, nil, 3)
			if rapid.Bool().Draw(t, "push") {
				r = append([]byte(">2\r\n+message\r\n"), drawReply(t, nil, 1)...)
			}
			stream = append(stream, r...)
			want = append(want, string(r))
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 20).Draw(t, "sizes")
		got := scanReplies(stream, sizes)
		if got.end != resp.More || !equal(got.frames, want) {
			t.Fatalf("stream %q in pieces of %v:\n got %q (%v)\nwant %q", stream, sizes, got.frames, got.end, want)
		}
	})
}

func drawReply(t *rapid.T, dst []byte, depth int) []byte {
	kinds := 9
	if depth > 0 {
		kinds = 14
	}
	kind := rapid.IntRange(0, kinds).Draw(t, "kind")
	children := func(header string, n, each int) []byte {
		dst = append(dst, strings.ReplaceAll(header, "N", string(rune('0'+n)))...)
		for range n * each {
			dst = drawReply(t, dst, depth-1)
		}
		return dst
	}
	n := rapid.IntRange(0, 3).Draw(t, "n")
	switch kind {
	case 10, 11:
		return children("*N\r\n", n, 1)
	case 12:
		return children("%N\r\n", n, 2)
	case 13:
		return children("~N\r\n", n, 1)
	case 14:
		return drawReply(t, children("|N\r\n", n, 2), depth-1)
	case 0:
		return resp.AppendBulk(dst, rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "bulk"))
	case 1:
		return resp.AppendText(dst, 3, "a text")
	}
	return append(dst, []string{"", "", "$-1\r\n", "*-1\r\n", "_\r\n", "+OK\r\n", "-ERR no\r\n", ":42\r\n", "#t\r\n", ",1.5\r\n"}[kind]...)
}

func equal(a, b []string) bool {
	return strings.Join(a, "\x00|") == strings.Join(b, "\x00|") && len(a) == len(b)
}

func TestMalformedRepliesAreRefused(t *testing.T) {
	for _, stream := range []string{
		"$?\r\n", "*?\r\n", "%?\r\n", "x", "\r\n", "$-2\r\n", "*-2\r\n", "%-1\r\n", ">-1\r\n", "=-1\r\n", "$01\r\n", "$+1\r\n", "$\r\n",
		"$1\r\nab\r\n", "$1\r\na\n", "+a\nb\r\n", "+a\rb\r\n", "$9223372036854775807\r\n", "*9223372036854775807\r\n",
		"%281474976710656\r\n", "*281474976710656\r\n*281474976710656\r\n", "$1\rx", ".",
		"$" + strings.Repeat("1", 30),
	} {
		for _, size := range []int{1, len(stream)} {
			if got := scanReplies([]byte(stream), []int{size}); got.end != resp.Malformed {
				t.Errorf("%q in pieces of %d: %v, frames %q; want malformed", stream, size, got.end, got.frames)
			}
		}
	}
}

func TestAPushWithinAReplyComesOnTopOfIt(t *testing.T) {
	stream := "*2\r\n>1\r\n+inv\r\n:1\r\n:2\r\n>1\r\n>1\r\n+a\r\n+b\r\n"
	got := scanReplies([]byte(stream), []int{3})
	want := []string{"*2\r\n>1\r\n+inv\r\n:1\r\n:2\r\n", ">1\r\n>1\r\n+a\r\n+b\r\n"}
	if !equal(got.frames, want) {
		t.Errorf("got %q, want %q", got.frames, want)
	}
}

func TestInlineWordsAreSplitAsRedisDoes(t *testing.T) {
	for line, want := range map[string][]string{
		"PING\r\n":                     {"PING"},
		"  set  a\tb \n":               {"set", "a", "b"},
		`echo "a\x41\n\"b"` + "\r\n":   {"echo", "aA\n\"b"},
		`echo 'a\'b\n'` + "\n":         {"echo", `a'b\n`},
		`echo pre"fix"` + "\n":         {"echo", "prefix"},
		`echo ""` + "\n":               {"echo", ""},
		`echo "\xZZ\q\t\r\b\a"` + "\n": {"echo", "xZZq\t\r\b\a"},
		"\r\n":                         nil,
		`echo "a"b` + "\n":             {"!"},
		`echo "a` + "\n":               {"!"},
		`echo 'a` + "\n":               {"!"},
		`echo "a\` + "\n":              {"!"},
		"a\rb\r\n":                     {"a", "b"},
	} {
		got, err := resp.AppendInline([]byte("+before\r\n"), []byte(line))
		var expected []byte
		switch {
		case len(want) == 1 && want[0] == "!":
			if err == nil {
				t.Errorf("%q: got %q, want unbalanced quotes", line, got)
			}
			continue
		case want != nil:
			expected = resp.AppendCommand(nil, want...)
		}
		if err != nil || string(got) != "+before\r\n"+string(expected) {
			t.Errorf("%q: got %q, %v; want %q", line, got, err, expected)
		}
	}
}

func TestHeadShowsNameAndSubcommandOnlyIfTheyAreShort(t *testing.T) {
	long := strings.Repeat("n", 65)
	for _, c := range []struct {
		args      []string
		name, sub string
	}{
		{[]string{"GET", "k"}, "GET", "k"},
		{[]string{"PING"}, "PING", ""},
		{[]string{"GET", long, "x"}, "GET", ""},
		{[]string{long, "x"}, "", ""},
		{[]string{"CLIENT", "LIST", "ID", "1"}, "CLIENT", "LIST"},
	} {
		frame := resp.AppendCommand(nil, c.args...)
		s := authenticated()
		h, o := s.Head(frame)
		if o != resp.Whole || string(h.Name) != c.name || string(h.Sub) != c.sub || h.Argc != len(c.args) {
			t.Errorf("%.40q: head %+v, %v", frame, h, o)
		}
		n, o := s.Body(frame[h.Len:])
		if o != resp.Whole || h.Len+n != len(frame) {
			t.Errorf("%.40q: head %d and body %d bytes, %v; want %d", frame, h.Len, n, o, len(frame))
		}
		args := resp.Args(nil, frame)
		if len(args) != len(c.args) || string(args[len(args)-1]) != c.args[len(args)-1] {
			t.Errorf("%.40q: arguments %q", frame, args)
		}
	}
}

func TestBoundsBeforeAuthenticationCanBeLiftedInMidCommand(t *testing.T) {
	var s resp.CommandScanner
	big := resp.AppendCommand(nil, "SET", "k", strings.Repeat("v", resp.MaxBulkBeforeAuth+1))
	h, o := s.Head(big)
	if o != resp.Whole {
		t.Fatalf("head: %v", o)
	}
	if _, o = s.Body(big[h.Len:]); o != resp.Malformed || !s.NeedsAuth() {
		t.Fatalf("a large argument before authentication: %v %q", o, s.Fault())
	}
	s.Authenticated = true
	if n, o := s.Body(big[h.Len:]); o != resp.Whole || h.Len+n != len(big) {
		t.Fatalf("the same after authentication: %v after %d bytes", o, n)
	}
	many := resp.AppendCommand(nil, strings.Split(strings.Repeat("a", 11), "")...)
	s.Authenticated = false
	if _, o := s.Head(many); o != resp.Malformed || !s.NeedsAuth() {
		t.Fatalf("11 arguments before authentication: %v %q", o, s.Fault())
	}
}

func TestScanningAllocatesNothing(t *testing.T) {
	command := resp.AppendCommand(nil, "SET", "key", strings.Repeat("v", 300))
	reply := []byte("*2\r\n$3\r\nabc\r\n%1\r\n+a\r\n:1\r\n")
	s := authenticated()
	var r resp.ReplyScanner
	allocs := testing.AllocsPerRun(100, func() {
		h, _ := s.Head(command)
		if _, o := s.Body(command[h.Len:]); o != resp.Whole {
			t.Fatal("command not whole")
		}
		if _, o := r.Scan(reply); o != resp.Whole {
			t.Fatal("reply not whole")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a scan, want 0", allocs)
	}
}

func TestAnErrorTextCannotBeginAnotherFrame(t *testing.T) {
	got := resp.AppendError(nil, "ERR unknown 'a\r\n+OK\r\n'")
	if s := scanReplies(got, []int{len(got)}); len(s.frames) != 1 || bytes.Count(got, []byte("\n")) != 1 {
		t.Errorf("%q scans as %q", got, s.frames)
	}
}
