package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/gateway"
)

// TestTheFilesDefaultsAreTheRolesDefaults: "redoubt up", which reads no file,
// must behave as a gateway whose file says nothing.
func TestTheFilesDefaultsAreTheRolesDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte("deployment: clinic\nname: cache-1\nadmit: [10.77.0.3/24]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := config.LoadGateway(path)
	if err != nil {
		t.Fatal(err)
	}
	options := gatewaySettings(conf)
	if options.Limits != gateway.DefaultLimits() {
		t.Errorf("the file's %+v, the role's %+v", options.Limits, gateway.DefaultLimits())
	}
	if len(options.Admit) != 1 || options.Admit[0].String() != "10.77.0.0/24" {
		t.Errorf("admit: %v", options.Admit)
	}
}
