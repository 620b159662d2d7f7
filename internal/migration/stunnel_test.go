package migration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	dice "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// stunnels tries configurations with the real stunnel.
type stunnels struct {
	t            *testing.T
	dir          string
	ca, host, me tls.Certificate // me is signed by nobody but itself
	backend      string          // a socket that greets whoever comes
}

func newStunnels(t *testing.T) *stunnels {
	dir, err := os.MkdirTemp("", "s") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stunnels{t: t, dir: dir, backend: filepath.Join(dir, "backend")}
	s.ca = s.certificate("ca", nil)
	s.host = s.certificate("host", &s.ca)
	s.me = s.certificate("me", nil)
	l, err := net.Listen("unix", s.backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello\n")
			c.Close()
		}
	}()
	return s
}

func (s *stunnels) certificate(name string, by *tls.Certificate) (c tls.Certificate) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: name == "ca", BasicConstraintsValid: true}
	parent, signer := tmpl, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		s.t.Fatal(err)
	}
	c = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.Leaf, _ = x509.ParseCertificate(der)
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, s.dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return c
}

const foreground = "foreground = yes\npid =\nsyslog = no\ndebug = 6\n"

// section is a server's, with these lines.
func (s *stunnels) section(n int, lines string) string {
	return fmt.Sprintf("[s%d]\naccept = %s/%d\nconnect = %s\n%s\n", n, s.dir, n, s.backend, s.fill(lines))
}

func (s *stunnels) fill(lines string) string { return strings.ReplaceAll(lines, "DIR", s.dir) }

// judged is what an import makes of the same section.
func (s *stunnels) judged(globals, lines string) (service, error) {
	path := write(s.t, s.dir, "judged.conf", globals+s.section(0, lines))
	conf, err := readStunnel(path)
	if err != nil {
		return service{}, err
	}
	return conf.services[0], conf.services[0].check()
}

// run starts one stunnel with all that are not refused by the import, and a short
// one for each that is: the real one must refuse it too.
func (s *stunnels) run(globals string, all []string) (serves map[int]service) {
	s.t.Helper()
	text, refused, ready := foreground+globals, 0, "Configuration successful"
	serves = map[int]service{}
	for n, lines := range all {
		svc, err := s.judged(globals, lines)
		if err == nil {
			serves[n] = svc
			text += s.section(n, lines)
			ready = fmt.Sprintf("bound to localhost:%s/%d", s.dir, n) // the last one
			continue
		}
		if refused++; refused > 60 {
			continue
		}
		path := write(s.t, s.dir, "refused.conf", foreground+globals+s.section(n, lines))
		cmd := exec.CommandContext(s.t.Context(), "timeout", "5", "stunnel", path)
		if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "Configuration successful") {
			s.t.Errorf("%q: the import says %v, and stunnel starts", globals+lines, err)
		}
	}
	s.t.Logf("%d sections serve, %d are refused", len(serves), refused)
	lab.Start(s.t, exec.Command("stunnel", write(s.t, s.dir, "all.conf", text)), ready)
	return serves
}

// gets says whether a client reaches what is behind section n.
func (s *stunnels) gets(n int, version uint16, cert *tls.Certificate) bool {
	s.t.Helper()
	conn, err := net.Dial("unix", fmt.Sprintf("%s/%d", s.dir, n))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	text, _ := io.ReadAll(tls.Client(conn, config))
	return string(text) == "hello\n"
}

// TestStunnelAsksForWhatAnImportSays: who comes in without a certificate, with one of
// his own making, and with one of the CA, for each order of the lines.
func TestStunnelAsksForWhatAnImportSays(t *testing.T) {
	options := []string{"verify = 0", "verify = 1", "verify = 2", "verify = 3", "verify = 4", "verifyChain = yes", "verifyChain = no", "verifyPeer = yes", "verifyPeer = no", "requireCert = yes", "requireCert = no"}
	const with = "cert = DIR/host.pem\nCAfile = DIR/ca.pem\n"
	var pairs []string
	all := []string{"cert = DIR/host.pem", with}
	for _, a := range options {
		all = append(all, with+a, "cert = DIR/host.pem\n"+a)
		for _, b := range options {
			pairs = append(pairs, with+a+"\n"+b)
		}
	}
	r := dice.New(dice.NewPCG(1, 1))
	for range 25 {
		lines := with
		for range 3 + r.IntN(3) {
			lines += options[r.IntN(len(options))] + "\n"
		}
		all = append(all, lines)
	}
	all = append(all, with+"verify = 2 # a comment", with+"verify=2;", with+"verifyChain = yes # x", with+"verify = 5", with+"verify =", with+"verify = -1", with+"verify = +2", with+"VERIFY = 02", with+"verifyChain = Yes", with+"verifyChain = true",
		with+"options = NO_TLSv1 # x", with+"options = no_tlsv1_1", with+"options = NO_SUCH", with+"TIMEOUTidle = 10s", with+"debug = 7 # x", with+"debug = info", with+"securityLevel = 6", with+"socket = l:TCP_NODELAY=1 # x",
		with+"checkHost = host", with+"verify = 2\ncheckHost = host", with+"sslVersionMin = TLSv1.3\nsslVersionMax = TLSv1.2", with+"sslVersion = SSLv2", with+"foreground = yes", with+"pid = /x", with+"redirect = DIR/none", "verify = 0",
		"PSKsecrets = DIR/psk", "PSKsecrets = DIR/psk\ncert = DIR/host.pem", "PSKsecrets = DIR/psk\n"+with+"verify = 2", with+"failover = x", with+"CAfile =\nverify = 2", with+"requireCert = yes\nCAfile =", with+"requireCert\n", "[x")
	for _, globals := range []string{"", "verifyChain = yes\n", "requireCert = yes\nverify = 1\n"} {
		s := newStunnels(t)
		write(t, s.dir, "psk", "host:0123456789abcdef0123456789abcdef\n")
		all := all
		if globals == "" {
			all = append(all, pairs...)
		} else { // sections begin from what stands before them
			globals += s.fill("CAfile = DIR/ca.pem\n")
		}
		for n, svc := range s.run(globals, all) {
			a := svc.options.asked()
			_, cert := svc.options.last("cert")
			if _, redirected := svc.options.last("redirect"); redirected { // who isn't verified goes elsewhere
				a.require = true
			}
			verified := a.chain || a.peer
			for _, c := range []struct {
				who  string
				cert *tls.Certificate
				want bool
			}{
				{"without a certificate", nil, cert && !a.require},
				{"with one of his own", &s.me, cert && !verified},
				{"with the CA's", &s.host, cert && !a.peer},
			} {
				if got := s.gets(n, tls.VersionTLS12, c.cert); got != c.want {
					t.Errorf("%q: who comes %s gets in: %v; the import says %+v", globals+all[n], c.who, got, a)
				}
			}
		}
	}
}

// TestStunnelAgreesOnTheVersionsThatAnImportSays, with this machine's OpenSSL.
func TestStunnelAgreesOnTheVersionsThatAnImportSays(t *testing.T) {
	names := []string{"", "all", "TLSv1", "TLSv1.1", "TLSv1.2", "tlsv1.3"}
	r := dice.New(dice.NewPCG(2, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	all := []string{"", "options = NO_TLSv1\noptions = NO_TLSv1_1", "securityLevel = 0", "securityLevel = 0\noptions = NO_TLSv1\noptions = NO_TLSv1_1", "securityLevel = 1", "ciphers = DEFAULT@SECLEVEL=0", "ciphers = DEFAULT@SECLEVEL=0\nsecurityLevel = 2",
		"options = NO_TLSv1_2\noptions = -NO_TLSv1_2", "options = -NO_TLSv1_2\noptions = NO_TLSv1_2", "options = NO_SSL_MASK", "sslVersionMin = TLSv1.3\nsslVersion = TLSv1.2", "sslVersion = TLSv1.2\nsslVersionMin = TLSv1.3"}
	for range 120 {
		lines := ""
		for _, name := range []string{"sslVersionMin", "sslVersionMax", "sslVersion"} {
			if v := pick(names...); v != "" && r.IntN(2) == 0 {
				lines += name + " = " + v + "\n"
			}
		}
		for range r.IntN(4) {
			lines += "options = " + pick("", "", "-") + pick("NO_TLSv1", "NO_TLSv1_1", "NO_TLSv1_2", "NO_TLSv1_3", "ALL", "NO_SSLv3") + "\n"
		}
		lines += pick("", "securityLevel = 0\n", "securityLevel = 0\n", "securityLevel = 2\n", "ciphers = DEFAULT@SECLEVEL=0\n", "ciphers = DEFAULT@SECLEVEL=1\nsecurityLevel = 0\n")
		all = append(all, lines)
	}
	for i := range all {
		all[i] = "cert = DIR/host.pem\n" + all[i]
	}
	s := newStunnels(t)
	for n, svc := range s.run("", all) {
		agreed := svc.options.agreed(true)
		for v := tls10; v <= tls13; v++ {
			if got := s.gets(n, tls.VersionTLS10+uint16(v-tls10), nil); got != slices.Contains(agreed, v) {
				t.Errorf("%q: %s is agreed on: %v; the import says %v", all[n], tlsVersions[v-1].name, got, agreed)
			}
		}
	}
}
