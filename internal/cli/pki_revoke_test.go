package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// TestWhoRevokesOneCertificateHearsOfTheOthers: the one before a renewal lives on, and a
// thief renews with it.
func TestWhoRevokesOneCertificateHearsOfTheOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) string {
		t.Helper()
		id, err := identity.New("clinic", identity.App, name)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := ca.Issue(pki.Request{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		return pki.Describe(leaf.Certificate(), leaf.Certificate().NotBefore).Serial
	}
	before, renewed, others := issue("web-1"), issue("web-1"), issue("web-2")
	for _, step := range []struct{ serial, left string }{{renewed, before}, {before, ""}} {
		var said strings.Builder
		c := pkiRevokeCmd{caFlags: caFlags{Dir: dir}, Serial: step.serial}
		if err := c.Run(&env{ctx: t.Context(), stdout: &said}); err != nil {
			t.Fatal(err)
		}
		_, left, told := strings.Cut(said.String(), "left: spiffe://clinic/app/web-1 ")
		if told != (step.left != "") || !strings.HasPrefix(left, step.left) || strings.Contains(said.String(), others) {
			t.Errorf("revoked %s, %q should be left:\n%s", step.serial, step.left, said.String())
		}
	}
}
