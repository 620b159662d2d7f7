package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

func TestAHostJoinsWithAToken(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	must(t, reaches(t, files, s))
	for path, mode := range map[string]os.FileMode{files.Certificate: 0o600, files.CA: 0o644, filepath.Dir(files.CA): 0o700} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
	}
	// The key was made here: nothing of it is on the CA's side.
	key, err := os.ReadFile(files.Certificate)
	must(t, err)
	secret := strings.Split(string(key), "\n")[1]
	out, _ := exec.Command("grep", "-rlF", secret, filepath.Dir(h.dir)).CombinedOutput()
	if len(out) > 0 {
		t.Errorf("the key lies in %s", out)
	}
	if text, _ := s.log.all(); !strings.Contains(text, "spiffe://clinic/app/web-1") || strings.Contains(text, secret) {
		t.Errorf("log: %s", text)
	}
}

func TestAHostThatHasAnIdentityKeepsIt(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	before, err := os.ReadFile(files.Certificate)
	must(t, err)
	if err := Vacant(files); !errors.Is(err, ErrJoined) || !strings.Contains(err.Error(), "spiffe://clinic/app/web-1") || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("%v", err)
	}
	got, err := Join(t.Context(), h.token("web-2", time.Hour, s))
	must(t, err)
	if err := got.Install(files); !errors.Is(err, ErrJoined) {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(files.Certificate); err != nil || string(after) != string(before) {
		t.Error("the identity was overwritten")
	}
}

func TestATokenThatIsNoGoodEnrolsNobody(t *testing.T) {
	h, other := newCAHost(t), newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	used := h.token("web-1", time.Hour, s)
	_, err := join(t, used)
	must(t, err)
	revoked := h.token("web-2", time.Hour, s)
	must(t, h.tokens.Remove(revoked.ID()))
	guessed := h.token("web-3", time.Hour, s)
	guessed.secret[0] ^= 1
	foreign := other.token("web-4", time.Hour, s)
	foreign.Roots = []RootHash{h.root()}
	expired := h.token("web-5", time.Hour, s)
	path := h.tokens.path(expired.ID(), tokenSuffix)
	text, err := os.ReadFile(path)
	must(t, err)
	r, err := h.tokens.read(expired.ID(), tokenSuffix)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), r.Expires.Format(time.RFC3339), time.Now().UTC().Add(-time.Second).Format(time.RFC3339), 1)), 0o600))
	for name, c := range map[string]struct {
		token Token
		says  string
	}{
		"used": {used, "used already"}, "revoked": {revoked, "not known"}, "another secret": {guessed, "not known"},
		"of another CA": {foreign, "not known"}, "expired": {expired, "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := join(t, c.token)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			leavesNothing(t, files)
		})
	}
}

// TestOfConcurrentJoinsExactlyOneWins goes through two gateways on one CA.
func TestOfConcurrentJoinsExactlyOneWins(t *testing.T) {
	h := newCAHost(t)
	a, b := h.gateway("cache-1", "127.0.0.1:0", 0), h.gateway("cache-2", "127.0.0.1:0", 0)
	for range 3 {
		first, second := h.token("web-1", time.Hour, a, b), Token{}
		second = first
		second.Gateways = []Gateway{first.Gateways[1], first.Gateways[0]}
		var mu sync.Mutex
		var won int
		var all sync.WaitGroup
		for i := range 12 {
			token := first
			if i%2 == 1 {
				token = second
			}
			all.Go(func() {
				_, err := Join(context.Background(), token)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case !strings.Contains(err.Error(), "used already"):
					t.Errorf("a loser is told: %v", err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Fatalf("%d joins won", won)
		}
	}
}

func TestATokenSurvivesARestartOfTheGateway(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	good, used := h.token("web-1", time.Hour, s), h.token("web-2", time.Hour, s)
	_, err := join(t, used)
	must(t, err)
	s.stop()
	again := h.gateway("cache-1", s.address, 0)
	if _, err := join(t, used); err == nil || !strings.Contains(err.Error(), "used already") {
		t.Errorf("a used one: %v", err)
	}
	files, err := join(t, good)
	must(t, err)
	must(t, reaches(t, files, again))
}

func TestGuessesAreRateLimitedAndLocked(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	good := h.token("web-1", time.Hour, s)
	for i := range guessesEach + 3 {
		guess := good
		guess.secret = [32]byte{byte(i)}
		says := "not known"
		if i >= guessesEach {
			says = "too many"
		}
		if _, err := Join(t.Context(), guess); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("guess %d: %v, want it to say %q", i, err, says)
		}
	}
	// Another host is not kept out by that.
	if err := from("127.0.0.9", s, good); err != nil {
		t.Error(err)
	}
}

// from enrols with the bare protocol from a loopback address of one's choice.
func from(address string, s *server, token Token) error {
	d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{tunnel.Enroll}}}
	conn, err := d.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	_, csr, err := newKey()
	if err != nil {
		return err
	}
	q, err := token.request(csr)
	if err != nil {
		return err
	}
	if err := send(conn, q); err != nil {
		return err
	}
	var a answer
	if err := receive(conn, maxAnswer, &a); err != nil {
		return err
	}
	_, err = a.believed()
	return err
}

// TestNothingInARequestIsBelievedButItsKey sends CSRs that ask for more.
func TestNothingInARequestIsBelievedButItsKey(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames: []string{"cache-1"}, Subject: h.ca.Certificate().Subject,
		URIs: h.ca.Certificate().URIs,
	}, key)
	must(t, err)
	token := h.token("web-1", time.Hour, s)
	q, err := token.request(der)
	must(t, err)
	a, err := enrolment(s, q)
	must(t, err)
	cert, err := x509.ParseCertificate(a.Certificate)
	must(t, err)
	if cert.IsCA || len(cert.DNSNames) != 0 || len(cert.URIs) != 1 || cert.URIs[0].String() != "spiffe://clinic/app/web-1" || cert.Subject.CommonName != "web-1" {
		t.Errorf("%v %v %v", cert.Subject, cert.URIs, cert.DNSNames)
	}
	// A CSR that its key didn't sign, or that is none, costs no token.
	token = h.token("web-2", time.Hour, s)
	broken := append([]byte(nil), der...)
	broken[len(broken)-1] ^= 1
	for _, csr := range [][]byte{broken, nil, []byte("junk"), make([]byte, 8<<10)} {
		q, err := token.request(csr)
		must(t, err)
		if _, err := enrolment(s, q); err == nil || !strings.Contains(err.Error(), "request is not one") {
			t.Errorf("%v", err)
		}
	}
	if _, err := join(t, token); err != nil {
		t.Error(err)
	}
}

func enrolment(s *server, q enrollRequest) (*answer, error) {
	conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{tunnel.Enroll}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if err := send(conn, q); err != nil {
		return nil, err
	}
	a := new(answer)
	if err := receive(conn, maxAnswer, a); err != nil {
		return nil, err
	}
	_, err = a.believed()
	return a, err
}

func TestMalformedMessagesAreRefusedAndHoldNothing(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	for name, raw := range map[string]string{
		"4 GB announced": "\xff\xff\xff\xff", "one byte too many": "\x00\x00\x40\x01" + strings.Repeat(" ", maxRequest+1),
		"no JSON": "\x00\x00\x00\x04junk", "Redis": "*1\r\n$4\r\nPING\r\n", "an unknown field": "\x00\x00\x00\x0a{\"x\":true}",
		"nothing": "",
	} {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{tunnel.Enroll}})
		must(t, err)
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, raw)
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		conn.Close()
	}
	s.log.await(t, "enrolment refused", 6)
}

// TestWhoEnrolsCannotGetAnywhereElse offers the relay beside enrolment, and
// speaks to enrolment as to the relay.
func TestWhoEnrolsCannotGetAnywhereElse(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	for _, offers := range [][]string{{tunnel.Enroll}, {tunnel.Relay, tunnel.Enroll}, {tunnel.Enroll, tunnel.Renew, tunnel.Relay}} {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: offers})
		must(t, err)
		conn.SetDeadline(time.Now().Add(patience))
		if p := conn.ConnectionState().NegotiatedProtocol; p != tunnel.Enroll {
			t.Errorf("%v: agreed on %q", offers, p)
		}
		io.WriteString(conn, "x")
		conn.CloseWrite()
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%v: the engine answered %q", offers, got)
		}
		conn.Close()
	}
	// Renewal wants a certificate.
	conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{tunnel.Renew, tunnel.Enroll}})
	if err == nil {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err = conn.Read(make([]byte, 1)); err == nil {
			t.Error("renewal answers who has no certificate")
		}
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("%v", err)
	}
}

func TestAGatewayWithoutTheCAEnrolsNobodyAndSaysSo(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	s.stop()
	s.ca = nil
	s.start(s.address)
	_, err := join(t, h.token("web-1", time.Hour, s))
	if err == nil || !strings.Contains(err.Error(), "does not enrol hosts") {
		t.Error(err)
	}
}

func TestAnAnswerOfAnotherIdentityIsRefused(t *testing.T) {
	h := newCAHost(t)
	key, csr, err := newKey()
	must(t, err)
	parsed, err := x509.ParseCertificateRequest(csr)
	must(t, err)
	cert, err := h.ca.Sign(parsed, pki.Request{ID: who(t, identity.App, "other")})
	must(t, err)
	other, _, err := newKey()
	must(t, err)
	for name, c := range map[string]struct {
		a    answer
		says string
	}{
		"somebody else's": {answer{Certificate: cert.Raw, Roots: [][]byte{h.ca.Certificate().Raw}}, "not that of spiffe://clinic/app/web-1"},
		"no CA":           {answer{Certificate: cert.Raw}, "no CA came"},
		"a host as CA":    {answer{Certificate: cert.Raw, Roots: [][]byte{cert.Raw}}, "not a CA"},
		"another CA":      {answer{Certificate: cert.Raw, Roots: [][]byte{newCAHost(t).ca.Certificate().Raw}}, "does not stand under"},
		"junk":            {answer{Certificate: []byte("junk"), Roots: [][]byte{h.ca.Certificate().Raw}}, "can't be read"},
		"a refusal":       {answer{Error: "no\x1b[2J"}, `refused: "no\x1b`},
	} {
		got, err := c.a.identity(key)
		if err == nil {
			err = got.is(who(t, identity.App, "web-1"))
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
	good := answer{Certificate: cert.Raw, Roots: [][]byte{h.ca.Certificate().Raw}}
	if _, err := good.identity(other); err == nil || !strings.Contains(err.Error(), "not for this host's key") {
		t.Error(err)
	}
}

// TestAStrangerWhoWantsToEnrolHoldsAPlaceNoLongerThanOthers: it needs no certificate
// for its handshake, and then it says nothing, or never comes to an end.
func TestAStrangerWhoWantsToEnrolHoldsAPlaceNoLongerThanOthers(t *testing.T) {
	t.Parallel()
	h := newCAHost(t)
	h.gateway("cache-1", "127.0.0.1:0", 0).stop()
	dir := filepath.Join(filepath.Dir(h.dir), "cache-1")
	s := &server{t: t, name: "cache-1", patient: 3 * time.Second, log: &lines{changed: make(chan struct{})},
		files: tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(h.dir, "ca.crt"), CRL: filepath.Join(h.dir, "revoked.crl")}}
	s.ca = h.signer(s.log, 0)
	s.start("127.0.0.1:0")
	waiting := map[string]*tls.Conn{}
	for name, says := range map[string]string{"nothing": "", "half a request": "\x00\x00\x10\x00{"} {
		conn, err := tunnel.DialEnroll(t.Context(), tunnel.Endpoint{Address: s.address, ID: who(t, identity.Gateway, "cache-1")}, []RootHash{h.root()})
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, says)
		must(t, err)
		waiting[name] = conn
	}
	for name, conn := range waiting {
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it holds its place still: %v", name, err)
		}
	}
}

func TestAHostThatIsNotAdmittedIsToldSo(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	token := h.token("web-1", time.Hour, s)
	s.stop()
	s.admits = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}
	s.start(s.address)
	files, err := join(t, token)
	if err == nil || !strings.Contains(err.Error(), "admit list does not have this host") || !strings.Contains(err.Error(), s.address) {
		t.Errorf("%v", err)
	}
	leavesNothing(t, files)
	if list, err := h.tokens.List(); err != nil || list[0].State != Open {
		t.Errorf("the token is %+v, %v", list, err)
	}
}
