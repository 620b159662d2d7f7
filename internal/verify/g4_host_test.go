package verify

import (
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// TestDisks judges what one test machine can't be: with and without encryption, on
// each kind of host.
func TestDisks(t *testing.T) {
	crypt, open, unseen, memory := host.Disk{Name: "dm-0", Encrypted: true}, host.Disk{Name: "sda1"}, host.Disk{}, host.Disk{Name: "memory", Encrypted: true}
	for _, c := range []struct {
		kind  host.Kind
		disks map[string]host.Disk
		want  evidence.Outcome
	}{
		{host.Metal, map[string]host.Disk{"/": crypt, "/tmp": memory}, evidence.Pass},
		{host.Metal, map[string]host.Disk{"/": crypt, "/var": open}, evidence.Fail},
		{host.Metal, map[string]host.Disk{"/": crypt, "/var": unseen}, evidence.Skip},
		{host.Metal, map[string]host.Disk{"/": open, "/var": unseen}, evidence.Fail},
		{host.Virtual, map[string]host.Disk{"/": open}, evidence.Skip},
		{host.Virtual, map[string]host.Disk{"/": crypt}, evidence.Pass},
		{host.Container, map[string]host.Disk{"/": unseen}, evidence.Skip},
	} {
		if got := judgeDisks(c.kind, c.disks, new(Notes)); got.outcome != c.want {
			t.Errorf("%s, %+v: %s, %s", c.kind, c.disks, got.outcome, got.detail)
		}
	}
}
