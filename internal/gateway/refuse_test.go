package gateway_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// closed reads to the end of a connection and returns what came before it.
func closed(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("not closed: %v", err)
	}
	return got
}

func TestWhatIsNotTLSIsClosedAndNamed(t *testing.T) {
	path, _ := redis(t)
	const late = "no handshake within"
	for name, c := range map[string]struct{ sends, says string }{
		"Redis":           {encode("SET", "MARKKEY", "MARKVALUE"), "not TLS: spoke plain Redis?"},
		"inline Redis":    {"auth MARKPASSWORD\r\n", "not TLS: spoke plain Redis?"},
		"inline GET":      {"GET MARKKEY\r\n", "not TLS: spoke plain Redis?"},
		"HTTP":            {"GET /MARK HTTP/1.1\r\nHost: MARK\r\n\r\n", "not TLS: spoke HTTP?"},
		"SSH":             {"SSH-2.0-MARK\r\n", "not TLS: spoke SSH?"},
		"anything":        {"MARKMARKMARK", "not TLS: unknown bytes"},
		"nearly TLS":      {"\x16\x03\x01\xff\xffMARK", "broken TLS"},
		"a huge hello":    {"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "handshake message of length 16777215"},
		"half a word":     {"PI", late},
		"nothing":         {"", late},
		"an alert":        {"\x15\x03\x01\x00\x02\x02\x28", "it ended the handshake"},
		"data before TLS": {"\x17\x03\x03\x00\x04MARK", "broken TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, path, func(o *gateway.Options) {
				o.Limits.HandshakeTimeout = 2 * patience // who is closed for what he says isn't closed by it
				if c.says == late {
					o.Limits.HandshakeTimeout = time.Second
				}
			})
			conn := g.raw("127.0.0.1")
			conn.Write([]byte(c.sends))
			if got := closed(t, conn); bytes.ContainsAny(got, "+-*$") && len(got) > 7 {
				t.Errorf("it answered %q", got)
			}
			g.line("connection refused", c.says, "source=127.0.0.1")
			if text, _ := g.log.all(); strings.Contains(text, "MARK") {
				t.Errorf("the log repeats what was sent:\n%s", text)
			}
			if c.says == late {
				return // a second may be too short for an honest one, too
			}
			if got := ask(t, g.dial(), "PING"); got != "+PONG" {
				t.Error(got)
			}
		})
	}
}

// TestWhoLeavesWithoutAWordIsNotRefused: a balancer's check would be a warning every few
// seconds. One that says something, or waits, is.
func TestWhoLeavesWithoutAWordIsNotRefused(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	for range 20 {
		g.raw("127.0.0.1").Close()
	}
	reset := g.raw("127.0.0.1")
	must(t, reset.SetLinger(0))
	reset.Close()
	g.line("ended without a word", "/readyz", "source=127.0.0.1", "level=INFO")
	cut := g.raw("127.0.0.1")
	cut.Write([]byte("\x16\x03"))
	cut.Close()
	g.line("connection refused", "it went away")
	for end := time.Now().Add(patience); g.Status().Knocks < 21; {
		if time.Now().After(end) {
			t.Fatalf("%+v", g.Status())
		}
	}
	if text, _ := g.log.all(); strings.Count(text, "without a word") != 1 || g.Status().Refused != 1 {
		t.Errorf("%+v:\n%s", g.Status(), text)
	}
}

func TestRandomBytesGetNothingAndBreakNothing(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.HandshakeTimeout = patience })
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		conn := g.raw("127.0.0.1")
		junk := make([]byte, 1+random.IntN(4096))
		for j := range junk {
			junk[j] = byte(random.Uint32())
		}
		if i%2 == 0 { // as far as a real record
			copy(junk, []byte{22, 3, 1, byte(len(junk) >> 8), byte(len(junk)), 1, 0, byte(len(junk) >> 8), byte(len(junk))})
		}
		conn.Write(junk)
		conn.CloseWrite()
		if got := closed(t, conn); len(got) > 7 { // an alert in the clear has 7 bytes
			t.Fatalf("%d bytes of answer", len(got))
		}
	}
	if n := g.dials.Load(); n != 0 {
		t.Errorf("the engine was dialled %d times", n)
	}
	if got := ask(t, g.dial(), "PING"); got != "+PONG" {
		t.Error(got)
	}
}

// TestOpenSSLAsAnAttackerGetsNowhere: an implementation that isn't ours, with
// the rightful client as the proof that the attacks fail for their own reasons.
func TestOpenSSLAsAnAttackerGetsNowhere(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	foreign, err := pki.Create(t.TempDir(), "clinic", pki.Options{}) // the same names
	must(t, err)
	right, wrong := g.hostDir(g.ca, "spiffe://clinic/app/web"), g.hostDir(foreign, "spiffe://clinic/app/web")
	asClient := g.hostDir(g.ca, "spiffe://clinic/gateway/cache")
	with := func(dir string, more ...string) []string {
		return append([]string{"-cert", filepath.Join(dir, "tls.pem"), "-key", filepath.Join(dir, "tls.pem")}, more...)
	}
	for _, c := range []struct {
		name, says string
		args       []string
		good       bool
	}{
		{"the rightful client", "connection opened", with(right), true},
		{"the rightful client over X25519", "", with(right, "-groups", "X25519"), !fips140.Enabled()},
		{"the rightful client over P-256", "connection opened", with(right, "-groups", "P-256"), true},
		{"P-384 only", "connection refused", with(right, "-groups", "P-384"), false},
		{"TLS 1.2", "unsupported versions", with(right, "-tls1_2"), false},
		{"TLS 1.1", "unsupported versions", with(right, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), false},
		{"TLS 1.0", "unsupported versions", with(right, "-tls1", "-cipher", "ALL:@SECLEVEL=0"), false},
		{"no certificate", "didn't provide a certificate", nil, false},
		{"a foreign CA with the same names", "unknown authority", with(wrong), false},
		{"a gateway's certificate", "incompatible key usage", with(asClient), false},
		{"an unknown protocol", "unsupported application protocols", with(right, "-alpn", "h2"), false},
		{"the relay's protocol", "connection opened", with(right, "-alpn", "redoubt/1"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dials := g.dials.Load()
			args := append([]string{"s_client", "-connect", g.Addr().String(), "-quiet", "-ign_eof"}, c.args...)
			cmd := exec.Command("openssl", args...)
			cmd.Stdin = strings.NewReader("PING\r\nQUIT\r\n")
			out, _ := cmd.CombinedOutput()
			if got := bytes.Contains(out, []byte("+PONG")); got != c.good {
				t.Errorf("an answer: %v\n%s", got, out)
			}
			if !c.good && g.dials.Load() != dials {
				t.Error("the engine was dialled")
			}
			g.line(c.says)
		})
	}
}

func TestAResumingOpenSSLIsNeverResumed(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	dir := g.hostDir(g.ca, "spiffe://clinic/app/web")
	session := filepath.Join(t.TempDir(), "session")
	cmd := exec.Command("openssl", "s_client", "-connect", g.Addr().String(), "-cert", filepath.Join(dir, "tls.pem"),
		"-key", filepath.Join(dir, "tls.pem"), "-sess_out", session, "-ign_eof")
	cmd.Stdin = strings.NewReader("PING\r\nQUIT\r\n")
	out, _ := cmd.CombinedOutput()
	if !bytes.Contains(out, []byte("+PONG")) || bytes.Contains(out, []byte("TLS session ticket:")) {
		t.Errorf("a ticket was given, or no answer:\n%s", out)
	}
}

func TestAnUnadmittedNetworkIsClosedBeforeTLS(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) {
		o.Admit = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	conn := g.raw("127.0.0.2")
	if got := closed(t, conn); len(got) != 0 {
		t.Errorf("it sent %q", got)
	}
	tlsConn := tls.Client(g.raw("127.0.0.2"), g.app.ClientConfig(g.gateway)) // rightful, but for its place
	if err := tlsConn.Handshake(); err == nil {
		t.Error("a handshake was made")
	}
	g.line("connection refused", "source=127.0.0.2", "not admitted")
	if got := ask(t, g.dial(), "PING"); got != "+PONG" {
		t.Error(got)
	}
}

// TestSlowStrangersLockNobodyOut: twice as many half-open handshakes as there is
// room for, which have all the time of this test, and a rightful client that comes from
// elsewhere.
func TestSlowStrangersLockNobodyOut(t *testing.T) {
	path, _ := redis(t)
	const room = 20
	g := start(t, path, func(o *gateway.Options) { o.Limits.Handshakes = room; o.Limits.HandshakeTimeout = time.Hour })
	for i := range 2 * room {
		conn := g.raw("127.0.0.2")
		if i%2 == 0 {
			conn.Write([]byte{22, 3, 1}) // of a record that never comes
		}
	}
	g.line("connection refused", "source=127.0.0.2", "too many handshakes")
	for range 5 {
		if got := ask(t, g.dial(), "PING"); got != "+PONG" { // from 127.0.0.1
			t.Fatal(got)
		}
	}
}

func TestDrippingBytesDoNotProlongAHandshake(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.HandshakeTimeout = 500 * time.Millisecond })
	conn := g.raw("127.0.0.1")
	hello := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 500)...) // takes 10 s
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var err error
	for i := 0; err == nil && i < len(hello); i++ {
		_, err = conn.Write(hello[i : i+1])
		<-tick.C
	}
	if err == nil {
		t.Error("all that dripped was taken")
	}
	g.line("no handshake within 500ms")
}

func TestAFloodOfRefusalsIsCountedNotWritten(t *testing.T) {
	g := start(t, "/nowhere", func(o *gateway.Options) { o.Admit = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	const flood = 500
	begun := time.Now()
	for range flood {
		closed(t, g.raw("127.0.0.1"))
	}
	seconds := int(time.Since(begun)/time.Second) + 2
	g.stop()
	must(t, g.wait())
	g.line("refusals_not_logged")
	text, _ := g.log.all()
	if lines := strings.Count(text, "connection refused"); lines > 10*seconds || lines < 10 {
		t.Errorf("%d lines in %d seconds", lines, seconds)
	}
}
