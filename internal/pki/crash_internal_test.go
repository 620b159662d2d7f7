package pki

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

var errCut = errors.New("cut")

// cutAfter is a write that works n times: what would come after it in a process
// that dies there never happens.
func cutAfter(n int) writeFunc {
	return func(path string, data []byte, mode os.FileMode) error {
		if n == 0 {
			return errCut
		}
		n--
		return statedir.WriteFile(path, data, mode)
	}
}

func app(t testing.TB, name string) identity.ID {
	t.Helper()
	id, err := identity.New("clinic", identity.App, name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// summary is what a CA is, so that before and after can be compared.
func summary(t *testing.T, ca *CA) string {
	t.Helper()
	r, err := ca.Rotation()
	must(t, err)
	issued, err := ca.Issued()
	must(t, err)
	text := string(r.Stage)
	for _, i := range issued {
		text += fmt.Sprintf(" %s:%s", i.Identity.Name(), i.Status)
	}
	return text
}

// whole holds the directory against itself: each root has its key and nobody
// else has one, and the CRLs say what the ledger says.
func whole(t *testing.T, dir string) {
	t.Helper()
	ca, err := Open(dir, nil)
	must(t, err)
	if _, err := ca.Issue(Request{ID: app(t, "probe")}); err != nil { // the first change after a crash catches up
		t.Fatalf("nothing can be issued: %v", err)
	}
	s := ca.state
	if good, err := ca.checkCRLs(s); err != nil || !good {
		t.Errorf("the CRLs don't say what the ledger says: %v", err)
	}
	keys, err := os.ReadFile(filepath.Join(dir, caKeyFile))
	must(t, err)
	if n := bytes.Count(keys, []byte("BEGIN")); n != len(s.roots) {
		t.Errorf("%d keys for %d roots", n, len(s.roots))
	}
	text, err := ca.Revocations()
	must(t, err)
	lists, err := parseCRLs(text, s.roots)
	must(t, err)
	for _, e := range s.ledger.entries {
		if e.revoked.IsZero() || findRoot(s.roots, e.root) == nil {
			continue
		}
		found := false
		for _, r := range lists[e.root].RevokedCertificateEntries {
			found = found || r.SerialNumber.Cmp(e.serial) == 0
		}
		if !found {
			t.Errorf("%s is revoked and not listed", e.id)
		}
	}
}

// TestAChangeThatIsCutAnywhereIsMadeOrNot cuts each change after each of its
// writes, and looks at what a new process finds.
func TestAChangeThatIsCutAnywhereIsMadeOrNot(t *testing.T) {
	issue := func(name string) func(*CA) error {
		return func(ca *CA) error { _, err := ca.Issue(Request{ID: app(t, name)}); return err }
	}
	revoke := func(ca *CA) error { _, err := ca.Revoke(app(t, "web")); return err }
	start := func(ca *CA) error { return ca.StartRotation(Options{}) }
	swap := func(ca *CA) error { return ca.SwitchRoot(true) }
	finish := func(ca *CA) error { return ca.FinishRotation(true) }
	for _, c := range []struct {
		name   string
		before []func(*CA) error
		change func(*CA) error
		writes int
	}{
		{"issue", nil, issue("web"), 1},
		{"revoke", []func(*CA) error{issue("web"), issue("db"), issue("web")}, revoke, 2},
		{"start", []func(*CA) error{issue("web"), revoke}, start, 3},
		{"revoke between", []func(*CA) error{issue("web"), start, issue("web")}, revoke, 2},
		{"switch", []func(*CA) error{issue("web"), start}, swap, 1},
		{"finish", []func(*CA) error{issue("web"), revoke, start, swap, issue("web"), revoke}, finish, 3},
	} {
		for cut := 0; cut <= c.writes; cut++ {
			t.Run(fmt.Sprintf("%s after %d of %d writes", c.name, cut, c.writes), func(t *testing.T) {
				dir := t.TempDir()
				ca, err := Create(dir, "clinic", Options{})
				must(t, err)
				for _, step := range c.before {
					must(t, step(ca))
				}
				before := summary(t, ca)
				ca.write = cutAfter(cut)
				err = c.change(ca)
				if cut < c.writes && !errors.Is(err, errCut) || cut == c.writes && err != nil {
					t.Fatalf("the change said %v", err)
				}
				fresh, err := Open(dir, nil)
				must(t, err)
				found := summary(t, fresh)
				ca.write = statedir.WriteFile
				if again := summary(t, ca); again != found {
					t.Errorf("this process sees %q, a new one %q", again, found)
				}
				if err == nil && cut == 0 && found != before {
					t.Errorf("nothing was written, and yet %q became %q", before, found)
				}
				whole(t, dir)
				if found == before { // not made: then it can be made now
					must(t, c.change(ca))
					whole(t, dir)
				}
				if after := summary(t, ca); after == before {
					t.Errorf("the change changed nothing: %q", after)
				}
			})
		}
	}
}

func TestACreationThatIsCutAnywhereIsNoCA(t *testing.T) {
	for cut := range 5 {
		dir := filepath.Join(t.TempDir(), "ca")
		_, err := create(dir, "clinic", Options{}, cutAfter(cut))
		if made := err == nil; made != (cut == 4) {
			t.Fatalf("after %d writes: %v", cut, err)
		}
		if cut == 4 {
			whole(t, dir)
			continue
		}
		if _, err := Open(dir, nil); !errors.Is(err, ErrNoCA) {
			t.Errorf("after %d writes: %v, want ErrNoCA", cut, err)
		}
		if _, err := Create(dir, "clinic", Options{}); err != nil {
			t.Errorf("after %d writes the rest is in the way: %v", cut, err)
		}
		whole(t, dir)
	}
}

// TestNoCertificateLeavesThatTheLedgerDoesNotKnow: the write comes first.
func TestNoCertificateLeavesThatTheLedgerDoesNotKnow(t *testing.T) {
	ca, err := Create(t.TempDir(), "clinic", Options{})
	must(t, err)
	ca.write = cutAfter(0)
	if leaf, err := ca.Issue(Request{ID: app(t, "web")}); !errors.Is(err, errCut) || leaf != nil {
		t.Errorf("got %v, %v", leaf, err)
	}
	_, text, err := NewRequest(ECDSA)
	must(t, err)
	csr, err := ParseRequest(text)
	must(t, err)
	if cert, err := ca.Sign(csr, Request{ID: app(t, "web")}); !errors.Is(err, errCut) || cert != nil {
		t.Errorf("got %v, %v", cert, err)
	}
}
