package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestAManInTheMiddleHearsNothing puts each of them where the gateway's address
// is, and looks at everything that it was sent.
func TestAManInTheMiddleHearsNothing(t *testing.T) {
	h, other := newCAHost(t), newCAHost(t) // other has the same names
	dir := t.TempDir()
	h.issue(identity.App, "stolen", filepath.Join(dir, "app"), 0)
	other.issue(identity.Gateway, "cache-1", filepath.Join(dir, "foreign"), 0)
	h.issue(identity.Gateway, "cache-9", filepath.Join(dir, "other"), 0)
	for name, certs := range map[string]func() [][]byte{
		"another CA":                     func() [][]byte { return [][]byte{other.ca.Certificate().Raw} },
		"another CA, and the right root": func() [][]byte { return [][]byte{other.ca.Certificate().Raw, h.ca.Certificate().Raw} },
		"a stolen application host's":    func() [][]byte { return [][]byte{h.ca.Certificate().Raw} },
		"another gateway's":              func() [][]byte { return [][]byte{h.ca.Certificate().Raw} },
		"the root alone":                 nil,
	} {
		t.Run(name, func(t *testing.T) {
			var cert tls.Certificate
			var err error
			switch {
			case strings.HasPrefix(name, "another CA"):
				cert, err = loadPair(filepath.Join(dir, "foreign"))
			case strings.HasPrefix(name, "a stolen"):
				cert, err = loadPair(filepath.Join(dir, "app"))
			case strings.HasPrefix(name, "another gateway"):
				cert, err = loadPair(filepath.Join(dir, "other"))
			default: // it sends the root's certificate as its own, with a key of its own
				key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				cert = tls.Certificate{Certificate: [][]byte{h.ca.Certificate().Raw}, PrivateKey: key}
			}
			must(t, err)
			if certs != nil {
				cert.Certificate = append(cert.Certificate, certs()...)
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{tunnel.Enroll}})
			must(t, err)
			defer l.Close()
			heard := make(chan []byte, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					heard <- nil
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				all, _ := io.ReadAll(conn)
				heard <- all
			}()
			token := h.token("web-1", time.Hour, &server{name: "cache-1", address: l.Addr().String()})
			files, err := join(t, token)
			if err == nil {
				t.Error("joined")
			}
			if all := <-heard; len(all) != 0 {
				t.Errorf("the man in the middle heard %d bytes", len(all))
			}
			leavesNothing(t, files)
			if list, err := h.tokens.List(); err != nil || list[len(list)-1].State != Open {
				t.Errorf("the token is %v, %v", list, err)
			}
		})
	}
}

func loadPair(dir string) (tls.Certificate, error) {
	path := filepath.Join(dir, "tls.pem")
	return tls.LoadX509KeyPair(path, path)
}
