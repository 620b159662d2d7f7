package tunnel_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// TestWhatIsWrongWithRevocationsIsTold, once, in the log, and to who asks.
func TestWhatIsWrongWithRevocationsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deploy(t, "clinic")
		dir := d.host(identity.Gateway, "cache-1")
		ends := func(list *x509.RevocationList) { list.NextUpdate = time.Now().Add(time.Hour) }
		save(t, d.crl(4, ends), dir, "revoked.crl")
		c, err := loadAll(dir)
		must(t, err)
		if c.OwnRevoked() != nil || !c.ListOverdue(time.Now()).IsZero() {
			t.Error("it is told too early")
		}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Watch(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		time.Sleep(61 * time.Minute)
		if c.ListOverdue(time.Now()).IsZero() {
			t.Error("a list that has ended isn't told")
		}
		save(t, d.crl(5, func(list *x509.RevocationList) { list.NextUpdate = time.Now().Add(24 * time.Hour) }, leafIn(t, dir)), dir, "revoked.crl")
		time.Sleep(time.Minute)
		if err := c.OwnRevoked(); err == nil || !strings.Contains(err.Error(), "spiffe://clinic/gateway/cache-1 is revoked") || !c.ListOverdue(time.Now()).IsZero() {
			t.Errorf("%v", err)
		}
		cancel()
		<-ended
		for _, want := range []string{"the list of revoked certificates has ended", "this host's own certificate is revoked"} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%q is %d times in\n%s", want, n, log.String())
			}
		}
		if !strings.Contains(log.String(), filepath.Join(dir, "revoked.crl")) {
			t.Errorf("no file is named in\n%s", log.String())
		}
	})
}
