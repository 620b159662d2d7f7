package gateway_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// watching starts a gateway that watches its files, as the product's does.
func watching(t *testing.T, path string) *rig {
	t.Helper()
	var credentials *tunnel.Credentials
	g := start(t, path, func(o *gateway.Options) { credentials = o.Credentials })
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); credentials.Watch(ctx, discard()) }()
	t.Cleanup(func() { stop(); <-done })
	return g
}

// shortLived issues an application host's certificate.
func (r *rig) shortLived(name string, life time.Duration) (*tunnel.Credentials, *x509.Certificate) {
	r.t.Helper()
	id, err := identity.New("clinic", identity.App, name)
	must(r.t, err)
	leaf, err := r.ca.Issue(pki.Request{ID: id, Life: life})
	must(r.t, err)
	dir := r.t.TempDir()
	must(r.t, leaf.Save(dir))
	return loadFrom(r.t, dir), leaf.Certificate()
}

// revoke signs a list of these certificates alone, which the CA itself would not
// make so short, and puts it where the gateway looks.
func (r *rig) revoke(certs ...*x509.Certificate) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.caDir, "ca.key"))
	must(r.t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(r.t, err)
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, r.ca.Certificate(), key.(crypto.Signer))
	must(r.t, err)
	path := filepath.Join(r.dir, "revoked.crl")
	must(r.t, os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600))
	must(r.t, os.Rename(path+".new", path))
}

// ends waits for a connection's end and returns how long that took.
func ends(t *testing.T, conn *tls.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	conn.SetDeadline(began.Add(patience))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes of a connection that should end", n)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection doesn't end")
	}
	return time.Since(began)
}

func TestLiveConnectionsOfARevokedHostAreCutWithinASecond(t *testing.T) {
	path, _ := redis(t)
	g := watching(t, path)
	lost, cert := g.shortLived("lost", time.Hour)
	other := g.dial()
	var conns []*tls.Conn
	for range 20 {
		conn := g.dialAs(lost)
		ask(t, conn, "PING")
		conns = append(conns, conn)
	}
	blocked := g.dialAs(lost)
	blocked.Write([]byte(encode("BLPOP", "none", "0")))
	bound := lab.Promised(t, time.Second)
	g.revoke(cert)
	for _, conn := range append(conns, blocked) {
		if took, most := ends(t, conn), bound(); took > most {
			t.Errorf("cut after %s, more than %s", took, most)
		}
	}
	g.line("connection closed", "spiffe://clinic/app/lost", "reason=\"cut: the certificate of", "is revoked")
	if got := ask(t, other, "PING"); got != "+PONG" {
		t.Errorf("who isn't revoked: %q", got)
	}
	again := g.dialAs(lost) // a client's handshake ends before the server has looked
	if _, err := again.Read(make([]byte, 1)); tunnel.Refusal(err) == "" {
		t.Errorf("a new connection: %v", err)
	}
	g.line("connection refused", "the certificate of spiffe://clinic/app/lost is revoked")
}

// TestARevocationBetweenHandshakeAndHandOverIsSeen: the engine is slow to take
// the connection, and meanwhile its host is revoked.
func TestARevocationBetweenHandshakeAndHandOverIsSeen(t *testing.T) {
	path, _ := redis(t)
	dialing, goOn := make(chan struct{}), make(chan struct{})
	var credentials *tunnel.Credentials
	g := start(t, path, func(o *gateway.Options) {
		credentials = o.Credentials
		dial := o.Dial
		o.Dial = func(ctx context.Context) (conn net.Conn, err error) {
			close(dialing)
			<-goOn
			return dial(ctx)
		}
	})
	lost, cert := g.shortLived("lost", time.Hour)
	conn := g.dialAs(lost)
	<-dialing
	g.revoke(cert)
	must(t, credentials.Reload())
	close(goOn)
	ends(t, conn)
	g.line("connection closed", "is revoked")
}

func TestAConnectionMayOutliveItsCertificateIfItsHostRenews(t *testing.T) {
	path, _ := redis(t)
	g := watching(t, path)
	second, cert := g.shortLived("web-1", time.Hour)
	const life = 5 * time.Second // enough to show both
	first, _ := g.shortLived("web-1", life)
	alone, _ := g.shortLived("web-2", life)
	old, abandoned := g.dialAs(first), g.dialAs(alone)
	ask(t, old, "PING")
	ask(t, abandoned, "PING")
	g.dialAs(second)

	ends(t, abandoned)
	g.line("connection closed", "spiffe://clinic/app/web-2", "no newer one was shown")
	if time.Now().Before(first.NotAfter()) {
		t.Fatal("the first certificate hasn't ended: the test is broken")
	}
	if got := ask(t, old, "PING"); got != "+PONG" {
		t.Errorf("with a newer one: %q", got)
	}
	// Only the new certificate can still be on a list, and takes the old
	// connection along.
	g.revoke(cert)
	ends(t, old)
	g.line("connection closed", "spiffe://clinic/app/web-1", "is revoked")
}

func TestARevocationDuringADrainStillCuts(t *testing.T) {
	path, _ := redis(t)
	g := watching(t, path)
	lost, cert := g.shortLived("lost", time.Hour)
	conn := g.dialAs(lost)
	if got := ask(t, conn, "SETRANGE", "big", "67108863", "x"); got != ":67108864" {
		t.Fatal(got)
	}
	conn.Write([]byte(encode("GET", "big"))) // and not read: it holds the drain up
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	g.stop()
	g.revoke(cert)
	g.line("connection closed", "is revoked")
	must(t, g.wait())
}
