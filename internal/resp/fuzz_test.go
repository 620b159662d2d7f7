package resp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// hostile are inputs that broke other parsers: negative and huge lengths,
// truncated headers, lengths of lengths.
func hostile(f *testing.F) {
	for _, seed := range []string{
		"*1\r\n$-2\r\n\r\n", "*1\r\n$9223372036854775807\r\n", "*9223372036854775807\r\n", "$9223372036854775807\r\n", "*-1\r\n*0\r\n\r\n",
		"*2147483647\r\n$1\r\na\r\n", "*1\r\n$4\r\nPINGxx", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "PING\r\n", "set \"a\\x41\" 'b\r\n", "*1\r\n\x00\r\n", "*\r\n",
		"+OK\r\n-ERR x\r\n:1\r\n", "%1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n", ">3\r\n+message\r\n+c\r\n$1\r\nm\r\n", "*1\r\n*1\r\n*1\r\n$?\r\n", "$-1\r\n*-1\r\n_\r\n", "=5\r\ntxt:a\r\n",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(7))
	}
}

func FuzzCommandScanner(f *testing.F) {
	hostile(f)
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		whole := scanCommands(authenticated(), stream, []int{len(stream)})
		cut := scanCommands(authenticated(), stream, []int{int(size)})
		if !equal(whole.frames, cut.frames) || whole.end != cut.end || whole.fault != cut.fault {
			t.Fatalf("cut into %d: %+v; whole: %+v", size, cut, whole)
		}
		for _, frame := range whole.frames {
			if again := scanCommands(authenticated(), []byte(frame), []int{1}); len(again.frames) != 1 {
				t.Fatalf("frame %q alone scans as %+v", frame, again)
			}
			for _, arg := range resp.Args(nil, []byte(frame)) {
				_ = arg
			}
			out, err := resp.AppendInline(nil, []byte(frame))
			words, wordsErr := resp.Words(strings.TrimSuffix(strings.TrimSuffix(frame, "\n"), "\r"))
			if (err == nil) != (wordsErr == nil) || err == nil && !slices.Equal(words, texts(resp.Args(nil, out))) {
				t.Fatalf("%q is the words %q, %v, and inline %q, %v", frame, words, wordsErr, out, err)
			}
			if err == nil && len(out) > 0 {
				if s := scanCommands(authenticated(), out, []int{len(out)}); len(s.frames) != 1 {
					t.Fatalf("inline %q became %q, which scans as %+v", frame, out, s)
				}
			}
		}
	})
}

func texts(args [][]byte) (list []string) {
	for _, a := range args {
		list = append(list, string(a))
	}
	return list
}

func FuzzReplyScanner(f *testing.F) {
	hostile(f)
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		whole := scanReplies(stream, []int{len(stream)})
		cut := scanReplies(stream, []int{int(size)})
		if !equal(whole.frames, cut.frames) || whole.end != cut.end {
			t.Fatalf("cut into %d: %+v; whole: %+v", size, cut, whole)
		}
	})
}
