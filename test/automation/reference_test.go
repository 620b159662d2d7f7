//go:build slow

package automation_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the Puppet module's REFERENCE.md anew")

var (
	puppetThing = regexp.MustCompile(`(?m)^(class|define|type) ([a-zA-Z:]+)`)
	puppetParam = regexp.MustCompile(`(?m)^  ([A-Z][^$\n]*) \$(\w+)(?: *= *(.*?))?,$`)
)

// TestTheReferenceIsTrue: the Puppet module's REFERENCE.md is printed from the comments
// of its classes, and each parameter has one (puppet-strings can't be had here).
func TestTheReferenceIsTrue(t *testing.T) {
	const module = "../../deploy/puppet/redoubt/"
	var b strings.Builder
	b.WriteString("# Reference\n\nPrinted from the manifests; a test keeps it true.\n")
	for _, path := range []string{"manifests/init.pp", "manifests/gateway.pp", "manifests/sidecar.pp", "types/secret.pp"} {
		b.WriteString(referenceOf(t, filepath.Join(module, path)))
	}
	if *update {
		if err := os.WriteFile(module+"REFERENCE.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(module + "REFERENCE.md"); err != nil || string(text) != b.String() {
		t.Errorf("REFERENCE.md isn't what the manifests say (%v): go test -tags slow ./test/automation -run Reference -update", err)
	}
}

func referenceOf(t *testing.T, path string) string {
	t.Helper()
	text := read(t, path)
	var comment []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		comment = append(comment, strings.TrimPrefix(strings.TrimPrefix(strings.TrimRight(line, "\n"), "#"), " "))
	}
	thing := puppetThing.FindStringSubmatch(text)
	if thing == nil {
		t.Fatalf("%s has no class", path)
	}
	about := map[string]string{}
	for _, tag := range regexp.MustCompile(`(?m)^@`).Split(strings.Join(comment, "\n"), -1)[1:] {
		kind, rest, _ := strings.Cut(strings.Replace(tag, "\n", " ", 1), " ")
		if kind == "param" {
			name, doc, _ := strings.Cut(rest, " ")
			kind, rest = "param "+name, doc
		}
		about[kind] = rest
	}
	folded := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s `%s`\n\n%s\n", thing[1], strings.TrimSuffix(thing[2], ":"), folded(about["summary"]))
	if example := strings.TrimSpace(about["example"]); example != "" {
		fmt.Fprintf(&b, "\n```puppet\n%s\n```\n", regexp.MustCompile(`(?m)^  `).ReplaceAllString("  "+example, ""))
	}
	params := puppetParam.FindAllStringSubmatch(text, -1)
	if len(params) > 0 {
		b.WriteString("\n| parameter | type | default | |\n|---|---|---|---|\n")
	}
	for _, p := range params {
		doc := folded(about["param "+p[2]])
		if doc == "" {
			t.Errorf("%s: $%s is not explained", path, p[2])
		}
		usual := "required"
		if p[3] != "" {
			usual = "`" + p[3] + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", p[2], strings.ReplaceAll(p[1], "|", `\|`), usual, doc)
	}
	return b.String()
}
