//go:build slow

package engines_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/migration"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// imported plans what becomes of a redis.conf behind a plain stunnel.
func imported(t *testing.T, conf string) *migration.Plan {
	t.Helper()
	stunnel := filepath.Join(t.TempDir(), "stunnel.conf")
	if err := os.WriteFile(stunnel, []byte("[redis]\naccept = 10.77.0.2:6380\nconnect = 6379\ncert = none.pem\nCAfile = ca.pem\nverify = 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := migration.Stunnel(migration.Options{Redis: conf, Stunnel: stunnel, Service: "redis", Deployment: "clinic", Name: "cache-1", ClientName: "web-1", Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEveryEnginesOwnConfigurationCanBeImported: the file that its package ships,
// and every setting that it can name itself, hidden ones apart.
func TestEveryEnginesOwnConfigurationCanBeImported(t *testing.T) {
	each(t, func(t *testing.T, b lab.Binary) {
		shipped := fmt.Sprintf("/etc/%s/%s.conf", b.Product, b.Product)
		p := imported(t, shipped)
		if p.Blocked() || len(p.Findings) < 60 {
			t.Errorf("%s: %d findings: %+v", shipped, len(p.Findings), p.Groups()[0])
		}

		socket := filepath.Join(t.TempDir(), "engine.sock")
		lab.Plain(t, b.Path, "port 0", "unixsocket "+socket, "dir "+t.TempDir(), `save ""`)
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		items := strings.Split(lab.NewClient(t, conn).Do("CONFIG", "GET", "*"), "\r\n")
		var all strings.Builder
		names := 0
		for i := 2; i+2 < len(items); i += 4 { // *N, then $n NAME $n VALUE
			if name := items[i]; name != "aclfile" {
				fmt.Fprintf(&all, "%s \"%s\"\n", name, items[i+2])
				names++
			}
		}
		path := filepath.Join(t.TempDir(), "all.conf")
		if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if names < 150 {
			t.Fatalf("only %d settings", names)
		}
		for _, f := range imported(t, path).Findings {
			if f.Verdict == migration.Unknown || f.Verdict == migration.Refused && f.Was != "" {
				t.Errorf("%s: %s: %s", f.Name, f.Verdict, f.Why)
			}
		}
	})
}
