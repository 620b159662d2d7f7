package sabotage_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/up"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// A front stands where the gateway should, with the gateway's certificate, as a
// tunnel that somebody made by hand: it asks what the gateway asks, but for what it
// is told to leave out, and passes what it lets in on to the real gateway.
type front struct {
	withoutCertificate, anyCA, ended, revoked, anyRole, anyRoleThatAsks bool // whom it lets in too

	lingers bool // it leaves connections up whose certificate is revoked
	renews  bool // it renews certificates, whatever became of them

	gone func(*x509.Certificate) bool // whose connections it ends

	tls func(*tls.Config) // what else of its TLS is another

	plain  bool                               // it lets in who speaks without TLS
	upward func(net.Conn) error               // done on the connection to the gateway first
	answer func(request []byte) (said string) // answers in the engine's place; "": not

	certificate *tls.Certificate // another one than the gateway's
}

// inFront puts it before the deployment's gateway, for who verifies.
func (f front) inFront(t *testing.T, d *deployment) {
	t.Helper()
	pool := x509.NewCertPool()
	roots, err := os.ReadFile(d.Dir + "/ca/ca.crt")
	if err != nil || !pool.AppendCertsFromPEM(roots) {
		t.Fatalf("the CA: %v", err)
	}
	list, err := os.ReadFile(d.Dir + "/ca/revoked.crl")
	if err != nil {
		t.Fatal(err)
	}
	own, app := pairIn(t, d.Dir+"/gateway/tls.pem"), pairIn(t, d.Dir+"/sidecar/tls.pem")
	if f.certificate != nil {
		own = *f.certificate
	}
	newest := func() []byte {
		if newer, err := os.ReadFile(d.Dir + "/ca/revoked.crl"); err == nil {
			list = newer
		}
		return list
	}
	f.gone = func(cert *x509.Certificate) bool {
		newer, err := os.ReadFile(d.Dir + "/ca/revoked.crl")
		return err == nil && !f.revoked && !f.lingers && isRevoked(newer, cert)
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos: []string{tunnel.Relay}, SessionTicketsDisabled: true, Certificates: []tls.Certificate{own},
		ClientAuth: tls.RequestClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error {
			return f.admit(cs, pool, newest)
		},
	}
	if f.renews {
		cfg.NextProtos = append(cfg.NextProtos, tunnel.Renew)
	}
	if f.tls != nil {
		f.tls(cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	gateway := d.Gateway
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(conn, cfg, func() (net.Conn, error) {
				return tls.Dial("tcp", gateway, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{tunnel.Relay}, Certificates: []tls.Certificate{app}})
			})
		}
	}()
	d.target.Doors = []tunnel.Endpoint{up.GatewayEndpoint(l.Addr().String())}
}

func pairIn(t *testing.T, file string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// admit asks a gateway's questions.
func (f front) admit(cs tls.ConnectionState, pool *x509.CertPool, crl func() []byte) error {
	if len(cs.PeerCertificates) == 0 {
		if f.withoutCertificate {
			return nil
		}
		return errors.New("no certificate")
	}
	cert := cs.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if f.anyRole {
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	}
	if f.ended && time.Now().After(cert.NotAfter) {
		options.CurrentTime = cert.NotAfter
	}
	if _, err := cert.Verify(options); err != nil {
		var unknown x509.UnknownAuthorityError
		if !f.anyCA || !errors.As(err, &unknown) {
			return err
		}
	}
	if len(cert.URIs) != 1 {
		return errors.New("nobody's")
	}
	id, err := identity.Parse(cert.URIs[0].String())
	if err != nil || id.Role() != identity.App && !f.anyRole && !f.anyRoleThatAsks {
		return errors.New("not an application host's")
	}
	if !f.revoked && isRevoked(crl(), cert) {
		return errors.New("revoked")
	}
	return nil
}

// isRevoked looks a certificate up in lists of revoked ones, PEM.
func isRevoked(lists []byte, cert *x509.Certificate) bool {
	for block, rest := pem.Decode(lists); block != nil; block, rest = pem.Decode(rest) {
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return true
		}
		for _, r := range list.RevokedCertificateEntries {
			if r.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return true
			}
		}
	}
	return false
}

func (f front) serve(conn net.Conn, cfg *tls.Config, dial func() (net.Conn, error)) {
	defer conn.Close()
	first := bufio.NewReader(conn)
	began, err := first.Peek(1)
	if err != nil {
		return
	}
	below := &readAhead{conn, first}
	client := net.Conn(below)
	if !f.plain || began[0] == 22 { // a TLS handshake (RFC 8446 §5.1)
		secured := tls.Server(below, cfg)
		if secured.Handshake() != nil {
			return
		}
		client = secured
		cs := secured.ConnectionState()
		if cs.NegotiatedProtocol == tunnel.Renew {
			certify(secured)
			return
		}
		if len(cs.PeerCertificates) > 0 && f.gone != nil {
			ended := make(chan struct{})
			defer close(ended)
			go f.endWhenGone(conn, cs.PeerCertificates[0], ended)
		}
	}
	gateway, err := dial()
	if err != nil {
		return
	}
	defer gateway.Close()
	if f.upward != nil && f.upward(gateway) != nil {
		return
	}
	go func() {
		io.Copy(client, gateway)
		client.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			if f.answer != nil {
				if said := f.answer(buffer[:n]); said != "" {
					io.WriteString(client, said)
					continue
				}
			}
			if _, err := gateway.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// endWhenGone ends a connection when its certificate is revoked, as a gateway does.
func (f front) endWhenGone(conn net.Conn, cert *x509.Certificate, ended <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			if f.gone(cert) {
				conn.Close()
				return
			}
		}
	}
}

// certify answers a renewal with something like a challenge, and a certificate.
func certify(conn net.Conn) {
	for _, answer := range []string{`{"challenge":"AAAA"}`, `{"certificate":"MIIB"}`} {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
			return
		}
		conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
	}
}

// readAhead is a connection of which something was looked at already.
type readAhead struct {
	net.Conn
	r io.Reader
}

func (c *readAhead) Read(b []byte) (int, error) { return c.r.Read(b) }

// logIn proves the application's password on a connection.
func logIn(password string) func(net.Conn) error {
	return func(conn net.Conn) error {
		if _, err := io.WriteString(conn, lab.Encode("AUTH", password)); err != nil {
			return err
		}
		reply := make([]byte, len("+OK\r\n"))
		if _, err := io.ReadFull(conn, reply); err != nil || !bytes.Equal(reply, []byte("+OK\r\n")) {
			return errors.New("not logged in")
		}
		return nil
	}
}

// meddler stands before a Redis and answers some commands in its place.
func meddler(t *testing.T, network, address string, upward func(net.Conn) error, answer func(request []byte) string) string {
	t.Helper()
	listenOn := "127.0.0.1:0"
	if network == "unix" {
		listenOn = t.TempDir() + "/s"
	}
	l, err := net.Listen(network, listenOn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := front{plain: true, upward: upward, answer: answer}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(conn, nil, func() (net.Conn, error) { return net.Dial(network, address) })
		}
	}()
	return l.Addr().String()
}

// says whether a request is a command with this first word (and second, if any).
func says(request []byte, words ...string) bool {
	fields := strings.Fields(strings.ToUpper(string(request)))
	var args []string
	for i, f := range fields { // RESP: *n $len word …
		if f[0] != '*' && f[0] != '$' || i == 0 && len(fields) == 1 {
			args = append(args, f)
		}
	}
	if len(args) < len(words) {
		return false
	}
	for i, w := range words {
		if args[i] != w {
			return false
		}
	}
	return true
}
