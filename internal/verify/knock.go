package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// knockWithin bounds one attempt at the tunnel.
const knockWithin = 5 * time.Second

// errUnreachable says that no connection came about, so that nothing was tried.
var errUnreachable = errors.New("can't be reached from here")

// attacker is a client's TLS that believes whatever it meets: what it tries is
// whether it is let in. A nil certificate shows none.
func attacker(certificate *tls.Certificate) *tls.Config {
	cfg := &tls.Config{
		InsecureSkipVerify: true, // an attacker doesn't mind
		MinVersion:         tls.VersionTLS10,
		NextProtos:         []string{tunnel.Relay},
	}
	if certificate != nil {
		// Not Certificates, from which crypto/tls picks by the CAs that the server names.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return cfg
}

// knock makes a handshake, asks for a PING, and says what came back: an answer, of
// whatever kind, means that it was let in. In TLS 1.3 a client's handshake ends before
// the server has looked at its certificate (RFC 8446 §2), so the refusal comes with the
// answer.
func knock(ctx context.Context, address string, cfg *tls.Config) (answer string, state tls.ConnectionState, err error) {
	conn, state, err := shakeHands(ctx, address, cfg)
	if err != nil {
		return "", state, err
	}
	defer conn.Close()
	c := newConversation(conn)
	answer, err = c.do("PING")
	if err != nil && c.heard() {
		return strangeAnswer, state, nil
	}
	return answer, state, err
}

// strangeAnswer stands for an answer that is no Redis's.
const strangeAnswer = "-STRANGE"

// reachDoor connects.
func reachDoor(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: knockWithin}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s %w: %v", address, errUnreachable, err)
	}
	return conn, nil
}

func shakeHands(ctx context.Context, address string, cfg *tls.Config) (*tls.Conn, tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, knockWithin)
	defer cancel()
	raw, err := reachDoor(ctx, address)
	if err != nil {
		return nil, tls.ConnectionState{}, err
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, tls.ConnectionState{}, err
	}
	return conn, conn.ConnectionState(), nil
}

// refusedAtEach says that each door refuses whoever comes with this certificate.
func refusedAtEach(ctx context.Context, t *Target, n *Notes, who string, certificate *tls.Certificate) Finding {
	for _, door := range t.Doors {
		answer, _, err := knock(ctx, door.Address, attacker(certificate))
		switch {
		case errors.Is(err, errUnreachable):
			return n.Skip("%v", err)
		case err == nil:
			n.Saw("%s, %s: let in, PING is answered with %s", door.Address, who, code(answer))
			return n.Fail("%s lets in %s", door.Address, who)
		case !closed(err):
			n.Saw("%s, %s: %v", door.Address, who, err)
			return n.Fail("%s neither answers %s nor closes the connection", door.Address, who)
		}
		n.Saw("%s, %s: %v", door.Address, who, err)
	}
	return n.Pass("refused: %s", who)
}

// closed says whether the other end closed or refused, rather than kept silent.
func closed(err error) bool {
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout()) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded)
}

// forge makes a certificate that looks like an application host's of a deployment, of
// a CA that looks like that deployment's, or signed by itself.
func forge(deployment string, selfSigned bool) (*tls.Certificate, error) {
	id, err := identity.New(deployment, identity.App, "redoubt-verify")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := func(serial int64, isCA bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{Organization: []string{deployment}, CommonName: "redoubt-verify"},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca, leaf := template(1, true), template(2, false)
	leaf.URIs = []*url.URL{id.URL()}
	parent, signer := ca, caKey
	if selfSigned {
		parent, signer = leaf, key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// ownCertificate is the one that this host has on its disk.
func ownCertificate(files tunnel.Files) (*tls.Certificate, error) {
	key := files.Key
	if key == "" {
		key = files.Certificate
	}
	pair, err := tls.LoadX509KeyPair(files.Certificate, key)
	return &pair, err
}

// plainly sends bytes without TLS and reads what comes back, until the other end
// closes.
func plainly(ctx context.Context, address, request string) (answer string, err error) {
	conn, err := reachDoor(ctx, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(knockWithin)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	var got strings.Builder
	_, err = io.CopyN(&got, conn, 1024)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return got.String(), err
}
