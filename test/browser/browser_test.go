//go:build slow

// Package browser_test opens the documents in a real browser: they render, nothing is
// fetched, axe finds nothing, a phone needs no scrolling sideways, and paper has pages.
// With -keep DIR the screenshots and the PDF stay, to be looked at.
package browser_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

var keep = flag.String("keep", "", "directory for screenshots and PDF")

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// seen is what look.mjs prints.
type seen struct {
	Errors, Requests, Axe, Overflow, Links []string
	Text                                   string
	Pages                                  int
}

func look(t *testing.T, page, name string) seen {
	t.Helper()
	out := t.TempDir()
	if *keep != "" {
		out = filepath.Join(*keep, name)
		if err := os.MkdirAll(out, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", "look.mjs", "/usr/bin/chromium", page, out)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("node look.mjs: %v (apt-get install chromium nodejs npm; npm ci)", err)
	}
	var s seen
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s seen) check(t *testing.T) {
	t.Helper()
	for what, list := range map[string][]string{
		"an error on the console": s.Errors, "it fetches": s.Requests, "not accessible": s.Axe, "wider than the screen": s.Overflow, "a link to nothing": s.Links,
	} {
		for _, one := range list {
			t.Errorf("%s: %s", what, one)
		}
	}
}

// TestTheDocumentsInABrowser makes them as a user does, of a deployment that runs.
func TestTheDocumentsInABrowser(t *testing.T) {
	d := lab.Up(t)
	dir := t.TempDir()
	redoubt := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), lab.Redoubt(t), args...).CombinedOutput(); err != nil && args[0] != "verify" {
			t.Fatalf("redoubt %v: %v\n%s", args, err, out)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	redoubt("verify", "--dir", d.Dir, "--host", "--json", at("one-machine.json"), "--html", at("report.html"))
	redoubt("dossier", "--evidence", at("one-machine.json"), "--ca", d.Dir, "--owner", "Security officer", "--out", at("dossier"))

	t.Run("report", func(t *testing.T) {
		s := look(t, at("report.html"), "report")
		s.check(t)
		if !strings.Contains(s.Text, "RD-501") || !strings.Contains(s.Text, "one-machine") || s.Pages < 3 {
			t.Errorf("%d pages\n%.400s", s.Pages, s.Text)
		}
	})
	t.Run("dossier", func(t *testing.T) {
		s := look(t, at("dossier/dossier.html"), "dossier")
		s.check(t)
		for _, want := range []string{"Security officer", "Risk register", "R-01", "RD-401", "45 CFR 164.312(e)(1)", "one-machine.json", "Approval", "Treatment plan", "Who is responsible for what"} {
			if !strings.Contains(s.Text, want) {
				t.Errorf("the page doesn't show %q", want)
			}
		}
		if s.Pages < 8 || s.Pages > 80 {
			t.Errorf("%d pages on paper", s.Pages)
		}
	})
	t.Run("annex", func(t *testing.T) {
		s := look(t, at("dossier/decisions.html"), "annex")
		s.check(t)
		if !strings.Contains(s.Text, "A report is signed by the host that made it") {
			t.Errorf("the annex lacks a decision\n%.400s", s.Text)
		}
	})
	// A page that is wrong in each way is found to be: else nothing was looked at.
	t.Run("control", func(t *testing.T) {
		const bad = `<html><body><img src="http://127.0.0.1:1/x.png"><div style="width:3000px">wide</div><a href="#nowhere" style="color:#ddd;background:#fff">x</a><script>console.error("e")</script></body></html>`
		if err := os.WriteFile(at("bad.html"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		s := look(t, at("bad.html"), "control")
		if len(s.Errors) == 0 || len(s.Requests) == 0 || len(s.Axe) == 0 || len(s.Overflow) == 0 || len(s.Links) == 0 {
			t.Errorf("not all that is wrong was found: %+v", s)
		}
	})
}
