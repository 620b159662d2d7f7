package verify

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestEveryFileThatIsWrittenIsSearched: wherever it lies, and where it has no name any
// more; and what was only read is not.
func TestEveryFileThatIsWrittenIsSearched(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	elsewhere, err := os.MkdirTemp("/opt", "redoubt-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(elsewhere) })
	path := func(name string) string { return filepath.Join(elsewhere, name) }
	const mark = "canary-of-this-test"
	write := func(name string) {
		if err := os.WriteFile(path(name), []byte("before"+mark), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("old")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := watchWrites()
	defer w.end()
	write("named")
	write("removed")
	if err := os.Remove(path("removed")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(path("old")); err != nil {
		t.Fatal(err)
	}
	if err := w.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	s := search{ctx: ctx, mark: []byte(mark), seen: map[fileID]bool{}}
	w.searchIn(&s)
	slices.Sort(s.found)
	if want := []string{path("named"), path("removed") + " (deleted)"}; !slices.Equal(s.found, want) {
		t.Errorf("found in %q, want %q (lacking %q)", s.found, want, s.lacking)
	}
}
