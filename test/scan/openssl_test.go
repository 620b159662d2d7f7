//go:build slow

package scan_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// client makes one connection with s_client and returns all that it says. It
// shows the rightful certificate where there is one, so that what is refused is
// refused for what it tries.
func client(t *testing.T, to target, stdin string, args ...string) string {
	t.Helper()
	all := []string{"s_client", "-connect", to.address}
	if to.host != "" {
		all = append(all, "-cert", to.host)
	}
	cmd := openssl(t, append(all, args...)...)
	// A pipe of our own: its end, two seconds on, ends a session that would stay.
	read, write, err := os.Pipe()
	must(t, err)
	defer read.Close()
	cmd.Stdin = read
	_, err = io.WriteString(write, stdin)
	must(t, err)
	if stdin == "" || strings.HasSuffix(stdin, "CLOSE\r\n") {
		write.Close()
	} else {
		end := time.AfterFunc(2*time.Second, func() { write.Close() })
		defer func() {
			if end.Stop() {
				write.Close()
			}
		}()
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	_ = cmd.Wait() // what it says counts
	if ctx.Err() != nil {
		t.Errorf("s_client %v hangs:\n%s", args, out.String())
	}
	return out.String()
}

// shaken says whether a handshake was made, as far as the client can know.
var shaken = regexp.MustCompile(`(New|Reused), \S+, Cipher is [A-Z]`).MatchString

// talk is a question that the gateway's engine and the control answer, and
// their words for the end.
const talk = "PING\r\nQUIT\r\nCLOSE\r\n"

// answered says whether anything was: by the engine, which wants a password
// first, or by the control.
func answered(out string) bool {
	return strings.Contains(out, "-NOAUTH") || strings.Contains(out, "+PONG") || strings.Contains(out, "GNIP")
}

// TestNothingWeakerIsAgreedOn makes each attempt at the control first, where it
// must get through, and then at the gateway, where it must not.
func TestNothingWeakerIsAgreedOn(t *testing.T) {
	good, weak := gateway(t), weakOpenSSL(t, "-rev")
	for _, args := range [][]string{{"-tls1_3", "-ign_eof"}, {"-tls1_3", "-ign_eof", "-groups", "P-256"}} {
		if out := client(t, good, talk, args...); !answered(out) {
			t.Fatalf("the rightful client isn't served, so no refusal proves anything:\n%s", out)
		}
	}
	attempts := map[string][]string{
		"TLS 1.0":                      {"-tls1"},
		"TLS 1.1":                      {"-tls1_1"},
		"TLS 1.2":                      {"-tls1_2"},
		"anything but TLS 1.3":         {"-no_tls1_3"},
		"TLS 1.3 with AES-CCM":         {"-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"},
		"TLS 1.3 with AES-CCM-8":       {"-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"},
		"signatures with SHA-1":        {"-tls1_2", "-sigalgs", "RSA+SHA1:ECDSA+SHA1"},
		"TLS 1.3 over P-521":           {"-tls1_3", "-groups", "P-521"},
		"TLS 1.3 over P-384":           {"-tls1_3", "-groups", "P-384"},
		"TLS 1.3 over X448":            {"-tls1_3", "-groups", "X448"},
		"TLS 1.3 over finite fields":   {"-tls1_3", "-groups", "ffdhe2048"},
		"TLS 1.3 over a larger field":  {"-tls1_3", "-groups", "ffdhe3072"},
		"a curve of 163 bits":          {"-tls1_2", "-cipher", "ECDHE", "-groups", "sect163k1"},
		"a curve of 192 bits":          {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA", "-groups", "secp192r1"},
		"a curve of 224 bits":          {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA", "-groups", "secp224r1"},
		"no encryption":                {"-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"},
		"no authentication":            {"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"},
		"legacy renegotiation allowed": {"-tls1_2", "-legacy_renegotiation"},
	}
	for name, args := range attempts {
		t.Run(name, func(t *testing.T) {
			if out := client(t, weak, "", args...); !shaken(out) {
				t.Errorf("the control refuses it too:\n%s", out)
			}
			if out := client(t, good, "", args...); shaken(out) {
				t.Errorf("the gateway agrees:\n%s", out)
			}
		})
	}
}

// TestEverySuiteOfOldIsRefused tries each one that OpenSSL has, by itself.
func TestEverySuiteOfOldIsRefused(t *testing.T) {
	good, weak := gateway(t), weakOpenSSL(t, "-rev")
	out, err := openssl(t, "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl ciphers: %v\n%s", err, out)
	}
	suites := strings.Split(strings.TrimSpace(string(out)), ":")
	tried := map[string]bool{}
	for _, suite := range suites {
		args := []string{"-tls1_2", "-cipher", suite + ":@SECLEVEL=0"}
		tried[suite] = shaken(client(t, weak, "", args...)) // not: those that want a DSA key or a password
		if out := client(t, good, "", args...); shaken(out) {
			t.Errorf("the gateway agrees on %s:\n%s", suite, out)
		}
	}
	count := 0
	for _, through := range tried {
		if through {
			count++
		}
	}
	t.Logf("%d suites, of which the control takes %d", len(suites), count)
	if count < 60 {
		t.Errorf("the control takes only %d of %d: it isn't weak enough to prove anything", count, len(suites))
	}
	for _, suite := range []string{"NULL-MD5", "ADH-AES128-SHA", "AES128-SHA", "CAMELLIA256-SHA", "ECDHE-RSA-NULL-SHA", "AECDH-NULL-SHA", "DHE-RSA-AES128-SHA"} {
		if !tried[suite] {
			t.Errorf("the control doesn't take %s", suite)
		}
	}
}

func TestNobodyIsServedWithoutACertificate(t *testing.T) {
	good, weak := gateway(t), weakOpenSSL(t, "-rev")
	good.host = ""
	for _, alpn := range [][]string{nil, {"-alpn", "redoubt/1"}, {"-alpn", "redoubt-enroll/2"}, {"-alpn", "redoubt-renew/2"}} {
		args := append([]string{"-tls1_3", "-ign_eof"}, alpn...)
		if out := client(t, good, talk, args...); answered(out) {
			t.Errorf("%v:\n%s", alpn, out)
		}
	}
	if out := client(t, weak, talk, "-tls1_3", "-ign_eof"); !answered(out) {
		t.Errorf("the control doesn't answer either:\n%s", out)
	}
}

// renegotiated counts the certificates shown after the command R.
func renegotiated(out string) bool {
	_, after, begun := strings.Cut(out, "RENEGOTIATING")
	return begun && strings.Contains(after, "depth=0")
}

func TestRenegotiationIsRefused(t *testing.T) {
	good, weak := gateway(t), weakOpenSSL(t, "-rev")
	if out := client(t, weak, "R\n", "-tls1_2"); !renegotiated(out) {
		t.Errorf("the control refuses it too:\n%s", out)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} { // TLS 1.3 has none, RFC 8446 §4.1.2
		if out := client(t, good, "R\n", version); renegotiated(out) {
			t.Errorf("the gateway does it with %s:\n%s", version, out)
		}
	}
}

func TestNoSessionIsResumed(t *testing.T) {
	good, weak := gateway(t), weakOpenSSL(t, "-rev")
	session := filepath.Join(t.TempDir(), "session")
	client(t, weak, talk, "-tls1_3", "-ign_eof", "-sess_out", session)
	if out := client(t, weak, talk, "-tls1_3", "-ign_eof", "-sess_in", session); !strings.Contains(out, "Reused, TLSv1.3") {
		t.Errorf("the control doesn't resume:\n%s", out)
	}
	if out := client(t, good, talk, "-tls1_3", "-ign_eof", "-sess_in", session); strings.Contains(out, "Reused,") {
		t.Errorf("the gateway resumes another's session:\n%s", out)
	}
	own := filepath.Join(t.TempDir(), "own")
	out := client(t, good, talk, "-tls1_3", "-ign_eof", "-sess_out", own)
	if !answered(out) || strings.Contains(out, "session ticket") {
		t.Errorf("the gateway hands out a ticket, or doesn't answer:\n%s", out)
	}
	if _, err := os.Stat(own); err == nil {
		if out := client(t, good, talk, "-tls1_3", "-ign_eof", "-sess_in", own); strings.Contains(out, "Reused,") {
			t.Errorf("the gateway resumes:\n%s", out)
		}
	}
	if out := client(t, good, "", "-tls1_3", "-reconnect"); strings.Contains(out, "Reused,") || !shaken(out) {
		t.Errorf("the gateway resumes when asked five times in a row:\n%s", out)
	}
}

func TestEarlyDataIsRefused(t *testing.T) {
	good, weak := gateway(t), weakOpenSSL(t, "-early_data")
	dir := t.TempDir()
	session, early := filepath.Join(dir, "session"), filepath.Join(dir, "early")
	must(t, os.WriteFile(early, []byte("PING\r\n"), 0o644))
	client(t, weak, "wait\n", "-tls1_3", "-sess_out", session)
	if out := client(t, weak, "wait\n", "-tls1_3", "-sess_in", session, "-early_data", early); !strings.Contains(out, "Early data was accepted") {
		t.Fatalf("the control doesn't take it:\n%s", out)
	}
	out := client(t, good, "wait\n", "-tls1_3", "-sess_in", session, "-early_data", early)
	if strings.Contains(out, "Early data was accepted") || answered(out) {
		t.Errorf("the gateway takes it:\n%s", out)
	}
}

// recorder keeps the first flight of a client.
type recorder struct {
	net.Conn
	sent []byte
}

func (r *recorder) Write(b []byte) (int, error) { r.sent = append(r.sent, b...); return len(b), nil }
func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }

// TestCompressionIsRefused offers DEFLATE, which Debian's OpenSSL can't: a
// ClientHello of crypto/tls with one more method in it (RFC 8446 §4.1.2: such a
// hello MUST be answered by illegal_parameter).
func TestCompressionIsRefused(t *testing.T) {
	good := gateway(t)
	r := &recorder{Conn: &net.TCPConn{}}
	_ = tls.Client(r, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}).Handshake() // it gets no answer
	ask := func(hello []byte) string {
		conn, err := net.Dial("tcp", good.address)
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err = conn.Write(hello)
		must(t, err)
		answer := make([]byte, 7)
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(answer[0], answer[6])
	}
	const handshake, alert, illegalParameter = 22, 21, 47
	if got := ask(r.sent); !strings.HasPrefix(got, fmt.Sprint(handshake)) {
		t.Fatalf("the hello isn't answered as it is: %s", got)
	}
	if got := ask(withDeflate(t, r.sent)); got != fmt.Sprint(alert, illegalParameter) {
		t.Errorf("answered by %s", got)
	}
}

// withDeflate adds compression method 1 (RFC 3749) to a ClientHello in one record.
func withDeflate(t *testing.T, record []byte) []byte {
	t.Helper()
	const fixed = 5 + 4 + 2 + 32 // record's and message's head, version, random
	at := fixed + 1 + int(record[fixed])
	at += 2 + int(record[at])<<8 + int(record[at+1])
	if record[at] != 1 || record[at+1] != 0 {
		t.Fatalf("no list of one method where it should be: % x", record[at:at+2])
	}
	hello := append(append(append([]byte{}, record[:at]...), 2, 1), record[at+1:]...)
	longer := func(i int) { // the length in three bytes or two ends at i
		if hello[i]++; hello[i] == 0 {
			hello[i-1]++
		}
	}
	longer(4) // the record's
	longer(8) // the message's
	return hello
}
