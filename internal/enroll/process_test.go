package enroll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestTheCAsProcessIsKilledUnderEnrolments: no token is lost, none is good for a second
// key, and hosts that are there renew again.
func TestTheCAsProcessIsKilledUnderEnrolments(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	const hosts = 24
	tokens, files := make([]Token, hosts), make([]tunnel.Files, hosts)
	var joined, killed sync.WaitGroup
	done := make(chan struct{})
	for i := range hosts {
		tokens[i], files[i] = h.token(fmt.Sprintf("web-%d", i), time.Hour, s), hostFiles(t)
		joined.Go(func() {
			got, err := Join(t.Context(), tokens[i])
			if err == nil {
				err = got.Install(files[i])
			}
			if err != nil {
				t.Errorf("%s: %v", tokens[i].Identity, err)
			}
		})
	}
	kills := 0
	killed.Go(func() {
		for n := 2; kills < 4; n += 3 { // each time when some more have joined
			for used := 0; used < n; {
				list, err := h.tokens.List()
				if err != nil {
					t.Error(err)
				}
				used = 0
				for _, l := range list {
					if l.State == Used {
						used++
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
			if pid := s.ca.Signer.Status().PID; pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				kills++
			}
		}
	})
	joined.Wait()
	close(done)
	killed.Wait()
	if kills == 0 {
		t.Fatal("it was never killed")
	}
	list, err := h.tokens.List()
	must(t, err)
	if len(list) != hosts || slices.ContainsFunc(list, func(l Listed) bool { return l.State != Used }) {
		t.Errorf("tokens: %+v", list)
	}
	for i := range hosts {
		if _, err := Join(t.Context(), tokens[i]); err == nil || !strings.Contains(err.Error(), "used already") {
			t.Errorf("%s joins a second time: %v", tokens[i].Identity, err)
		}
	}
	must(t, reaches(t, files[0], s))
	c, err := tunnel.LoadCredentials(files[0])
	must(t, err)
	must(t, (&Renewer{Credentials: c, Files: files[0], Dialer: dialer(t, c, s)}).renew(t.Context()))
	t.Logf("killed %d times", kills)
}

// TestWhoAsksAgainGetsTheSameCertificate: its answer was lost.
func TestWhoAsksAgainGetsTheSameCertificate(t *testing.T) {
	h := newCAHost(t)
	s := h.taken()
	token := h.token("web-1", time.Hour, &server{name: "cache-1", address: "127.0.0.1:1"})
	q, err := token.request(csr(t))
	must(t, err)
	first, err := s.answer(&question{Enrolment: &q})
	must(t, err)
	again, err := h.taken().answer(&question{Enrolment: &q}) // by a process that was started since
	must(t, err)
	if !bytes.Equal(first.Certificate, again.Certificate) || len(again.Roots) != 1 || len(again.Revocations) == 0 {
		t.Errorf("%+v", again)
	}
	if issued, err := h.ca.Issued(); err != nil || len(issued) != 1 {
		t.Errorf("%v, %v", issued, err)
	}
	if _, err := h.ca.Revoke(who(t, identity.App, "web-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.answer(&question{Enrolment: &q}); !errors.Is(err, errUsed) {
		t.Errorf("after a revocation: %v", err)
	}
}

// asTaken starts the CA's process, and returns its socket: whoever took its owner over has
// that.
func (h *cahost) asTaken(own ...identity.ID) *Signer {
	h.t.Helper()
	s, err := StartSigner(SignerOptions{Dir: h.dir, Own: own, Log: slog.New(slog.DiscardHandler)})
	must(h.t, err)
	h.t.Cleanup(s.Close)
	return s
}

// TestATakenOwnerGetsNothingWithoutItsProof asks the CA's process all that there is to ask.
func TestATakenOwnerGetsNothingWithoutItsProof(t *testing.T) {
	h := newCAHost(t)
	gateway := who(t, identity.Gateway, "cache-1")
	s := h.asTaken(gateway)
	web := h.issued(pki.Request{ID: who(t, identity.App, "web-1")})
	challenge, err := s.ask(question{Challenge: true})
	must(t, err)
	proved := renewalBy(t, web, csr(t), challenge.Challenge)
	stolen := *proved
	stolen.CSR = csr(t)
	token := h.token("web-2", time.Hour, &server{name: "cache-1", address: "127.0.0.1:1"})
	for what, q := range map[string]question{
		"a host of another process": {Own: &ownRequest{Identity: "spiffe://clinic/app/web-1", CSR: csr(t)}},
		"another gateway":           {Own: &ownRequest{Identity: "spiffe://clinic/gateway/cache-2", CSR: csr(t)}},
		"another deployment":        {Own: &ownRequest{Identity: "spiffe://other/gateway/cache-1", CSR: csr(t)}},
		"nobody":                    {Own: &ownRequest{CSR: csr(t)}},
		"a key that never signed":   {Own: &ownRequest{Identity: gateway.String(), CSR: []byte("junk")}},
		"a renewal, for its key":    {Renewal: &stolen},
		"a token that it knows of":  {Enrolment: &enrollRequest{Token: token.ID(), CSR: csr(t)}},
	} {
		a, err := s.ask(q)
		if err != nil || a.Error == "" || a.Certificate != nil || strings.Contains(a.Error, h.dir) {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
	a, err := s.ask(question{Renewal: proved})
	if err != nil || len(a.Certificate) == 0 {
		t.Errorf("a host's own renewal: %+v, %v", a, err)
	}
	got, err := s.certify(Own{ID: gateway})
	if err != nil || name(got.Certificate()) != gateway.String() {
		t.Errorf("its own: %v", err)
	}
	// A message that is none of ours ends the process, and nothing else.
	pid := s.Status().PID
	for _, text := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x04junk", "\x00\x00\x00\x0a{\"dir\":\"\"}", "\x00\x01\x00\x00{"} {
		s := h.asTaken(gateway)
		s.conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(s.conn, text)
		s.conn.(*net.UnixConn).CloseWrite()
		if rest, err := io.ReadAll(s.conn); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q is answered with %q, %v", text, rest, err)
		}
	}
	if s.Status().PID != pid {
		t.Error("it is another process")
	}
}

// TestTheCAsProcessIsConfined: it has the CA's directory and its socket, and no right.
func TestTheCAsProcessIsConfined(t *testing.T) {
	h := newCAHost(t)
	const uid = 61999 // nobody's
	must(t, filepath.WalkDir(h.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
	for dir := h.dir; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) { // the test's own
		if dir != h.dir {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	s := h.asTaken(who(t, identity.Gateway, "cache-1"))
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Status().PID))
	must(t, err)
	for _, line := range []string{"Uid:\t61999\t61999\t61999\t61999", "Gid:\t61999\t61999\t61999\t61999", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("it has not %q:\n%s", line, text)
		}
	}
	if got, err := s.certify(Own{ID: who(t, identity.Gateway, "cache-1")}); err != nil {
		t.Errorf("%v, %v", got, err)
	}
	token := h.token("web-1", time.Hour, &server{name: "cache-1", address: "127.0.0.1:1"}) // by root, beside it
	q, err := token.request(csr(t))
	must(t, err)
	if a, err := s.ask(question{Enrolment: &q}); err != nil || a.Error != "" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := h.ca.Revoke(who(t, identity.App, "web-1")); err != nil { // by root, too
		t.Fatal(err)
	}
	if a, err := s.ask(question{Rotation: true}); err != nil || a.Error != "" {
		t.Errorf("%+v, %v", a, err)
	}
	must(t, s.Settle())
}

func TestWhatIsWrongWithTheCAIsSaidAtItsStart(t *testing.T) {
	h := newCAHost(t)
	for name, c := range map[string]struct {
		o    SignerOptions
		says string
	}{
		"no directory": {SignerOptions{Dir: h.dir + "/none"}, "no such file"},
		"no CA":        {SignerOptions{Dir: t.TempDir()}, "no CA is there"},
	} {
		c.o.Log = slog.New(slog.DiscardHandler)
		if s, err := StartSigner(c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				s.Close()
			}
		}
	}
	sealed := filepath.Join(t.TempDir(), "ca")
	_, err := pki.Create(sealed, "clinic", pki.Options{Passphrase: []byte("a long enough passphrase")})
	must(t, err)
	for name, c := range map[string]struct {
		unlock pki.Unlock
		says   string // "": it starts
	}{
		"the passphrase":    {func() ([]byte, error) { return []byte("a long enough passphrase"), nil }, ""},
		"another":           {func() ([]byte, error) { return []byte("another long passphrase"), nil }, "passphrase"},
		"one without a way": {func() ([]byte, error) { return nil, errors.New("the file is missing") }, "the file is missing"},
	} {
		s, err := StartSigner(SignerOptions{Dir: sealed, Unlock: c.unlock, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			if s.Locked {
				t.Errorf("%s: locked", name)
			}
			s.Close()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

// FuzzTheCAsProcess hears what a taken owner may send, in this very process.
func FuzzTheCAsProcess(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "ca")
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(f, err)
	for _, q := range []question{{Challenge: true}, {Rotation: true}, {}, {Enrolment: &enrollRequest{Token: "0123456789abcdef", CSR: []byte{1}, Proof: []byte{2}}},
		{Renewal: &pki.Renewal{Certificate: []byte{1}}}, {Own: &ownRequest{Identity: "spiffe://clinic/gateway/cache-1", CSR: []byte{1}}}} {
		var b bytes.Buffer
		must(f, send(&b, q))
		f.Add(b.Bytes())
	}
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<31))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &signer{ca: ca, tokens: OpenTokens(dir), log: slog.New(slog.DiscardHandler)}
		here := &oneWay{Reader: bytes.NewReader(data)}
		if err := s.serve(here); err == nil {
			t.Fatal("it goes on at the end")
		}
		if issued, err := ca.Issued(); err != nil || len(issued) != 0 {
			t.Fatalf("%v, %v", issued, err)
		}
	})
}

// oneWay is a connection of which nobody reads the other end.
type oneWay struct {
	net.Conn
	io.Reader
}

func (c *oneWay) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c *oneWay) Write(b []byte) (int, error) { return len(b), nil }
