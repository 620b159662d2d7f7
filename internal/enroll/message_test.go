package enroll

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

func TestMessagesAreBoundedAndStrict(t *testing.T) {
	frame := func(size uint32, text string) io.Reader {
		return bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, size), text...))
	}
	good := `{"token":"0123456789abcdef","csr":"AA==","proof":"AA=="}`
	for _, c := range []struct {
		name string
		from io.Reader
		says string // "" is good
	}{
		{"a good one", frame(uint32(len(good)), good), ""},
		{"nothing", frame(0, ""), "not of this protocol"},
		{"an unknown field", frame(9, `{"tok":""}`[:9]), "not of this protocol"},
		{"a second value", frame(uint32(len(good)+2), good+"{}"), "not of this protocol"},
		{"a wrong type", frame(11, `{"token":1}`), "not of this protocol"},
		{"4 GB announced", frame(1<<32-1, good), "at most"},
		{"one byte too many", frame(maxRequest+1, strings.Repeat(" ", maxRequest+1)), "at most"},
		{"the end too soon", frame(uint32(len(good)+1), good), "unexpected EOF"},
		{"half a length", strings.NewReader("\x00\x00"), "unexpected EOF"},
		{"HTTP", strings.NewReader("GET / HTTP/1.1\r\n\r\n"), "at most"},
	} {
		var q enrollRequest
		err := receive(c.from, maxRequest, &q)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.says)
		}
	}
}

func FuzzReceive(f *testing.F) {
	var b bytes.Buffer
	must(f, send(&b, enrollRequest{Token: "0123456789abcdef", CSR: []byte{2}, Proof: []byte{1}}))
	f.Add(b.Bytes())
	b.Reset()
	must(f, send(&b, renewRequest{Renewal: &pki.Renewal{Certificate: []byte{1}, CSR: []byte{2}, Challenge: []byte{3}, Proof: []byte{4}}}))
	f.Add(b.Bytes())
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []any{new(enrollRequest), new(renewRequest), new(answer)} {
			if err := receive(bytes.NewReader(data), maxRequest, into); err != nil {
				continue
			}
			var again bytes.Buffer
			must(t, send(&again, into))
			must(t, receive(&again, maxAnswer, into))
		}
	})
}
