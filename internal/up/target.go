package up

import (
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// Target is the deployment of a directory as "redoubt verify" looks at it: what lies
// there. What only the running process knows is added by who asks it.
func Target(path string) (*verify.Target, error) {
	dir, err := statedir.At(path)
	if err != nil {
		return nil, err
	}
	gateway, sidecar := gatewayFiles(dir), sidecarFiles(dir)
	t := &verify.Target{
		Vantage: evidence.OneMachine, Deployment: deploymentName, Host: appID().Name(),
		Cache: &verify.Cache{
			Certificates: gateway, CA: dir.CA(), Digests: dir.Digests(),
			Secrets: []string{gateway.Certificate, filepath.Join(dir.CA(), "ca.key")},
			Trusted: []string{dir.Digests(), gateway.CA},
		},
		App: &verify.App{
			Certificates: sidecar,
			Secrets:      []string{sidecar.Certificate, dir.AppEnv(), dir.Password()},
			Trusted:      []string{sidecar.CA},
		},
	}
	password, err := statedir.ReadPassword(dir.Password())
	if err != nil {
		t.App.NoPassword = err.Error()
	}
	t.App.Password = password
	return t, nil
}

func gatewayFiles(dir *statedir.Dir) tunnel.Files {
	return tunnel.Files{
		Certificate: filepath.Join(dir.Gateway(), "tls.pem"),
		CA:          filepath.Join(dir.CA(), "ca.crt"), // the CA's own
		CRL:         filepath.Join(dir.CA(), "revoked.crl"),
	}
}

func sidecarFiles(dir *statedir.Dir) tunnel.Files {
	return tunnel.Files{
		Certificate: filepath.Join(dir.Sidecar(), "tls.pem"),
		CA:          filepath.Join(dir.Sidecar(), "ca.crt"),
		CRL:         filepath.Join(dir.Sidecar(), "revoked.crl"),
	}
}

// GatewayEndpoint is where the deployment's own tunnel is, at an address.
func GatewayEndpoint(address string) tunnel.Endpoint {
	return tunnel.Endpoint{Address: address, ID: gatewayID()}
}
