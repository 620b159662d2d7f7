package firewall

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestWhatOthersDidMeanwhileIsNotTakenForOurs: something empties the ruleset between the
// load and the look at what it made, once and each time.
func TestWhatOthersDidMeanwhileIsNotTakenForOurs(t *testing.T) {
	real, err := exec.LookPath("nft")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// An nft before which, as it lists, another one has emptied the ruleset.
	write("nft", fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = --stateless ] && [ -e %[1]s/flush ]; then %[2]s flush ruleset; . %[1]s/flush; fi\nexec %[2]s \"$@\"\n", dir, real))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	rules := texts()["cache"]
	err = lab.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		whole, err := LoadText(t.Context(), rules)
		if err != nil || !strings.Contains(whole, "chain arrivals") {
			return fmt.Errorf("%w\n%s", err, whole)
		}
		write("flush", "rm "+at("flush")+"\n") // once
		if table, err := LoadText(t.Context(), rules); err != nil || table != whole {
			t.Errorf("emptied once: %v\n%s", err, table)
		}
		write("flush", "") // each time
		if table, err := LoadText(t.Context(), rules); !errors.Is(err, ErrMeanwhile) {
			t.Errorf("emptied each time: %v\n%s", err, table)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
