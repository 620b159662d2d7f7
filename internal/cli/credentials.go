package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// loadCredentials loads a host's identity and holds it against what the
// configuration says it is: a certificate copied from another host is an error.
func loadCredentials(t config.TLS, deployment, name string) (*tunnel.Credentials, error) {
	files, err := filesOf(t)
	if err != nil {
		return nil, err
	}
	credentials, err := tunnel.LoadCredentials(files)
	if err != nil {
		return nil, err
	}
	if id := credentials.ID(); id.Deployment() != deployment || id.Name() != name {
		return nil, fmt.Errorf("%s is the certificate of %s, but the configuration is of deployment %s, name %s", t.Certificate, id, deployment, name)
	}
	return credentials, nil
}

// filesOf maps the configuration. A list of revoked certificates that is named
// there must exist, or a misspelt name would let everybody in.
func filesOf(t config.TLS) (tunnel.Files, error) {
	files := tunnel.Files{Certificate: string(t.Certificate), Key: string(t.Key), CA: string(t.CA), CRL: string(t.CRL)}
	if files.CRL == "" {
		files.CRL = filepath.Join(filepath.Dir(files.Certificate), "revoked.crl")
		return files, nil
	}
	if _, err := os.Stat(files.CRL); err != nil {
		return tunnel.Files{}, fmt.Errorf("tls.crl: %w", err)
	}
	return files, nil
}

// watching is the part of a process that takes in new certificates.
func watching(c *tunnel.Credentials, log *slog.Logger) daemon.Part {
	return daemon.Part{Name: "certificates", Run: func(ctx context.Context, ready func()) error {
		ready()
		c.Watch(ctx, log)
		return nil
	}}
}
