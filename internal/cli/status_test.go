package cli

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/admin"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsHead = `# Metrics

This page is printed from the structs in the code; a test keeps it true (` + "`go test ./internal/cli -update`" + `).

Every process serves them on its admin socket, and on ` + "`admin.metrics`" + ` if the configuration names an address (docs/configuration.md): ` + "`/metrics`" + ` in Prometheus's text format, ` + "`/livez`" + ` (the process works) and ` + "`/readyz`" + ` (it can serve). ` + "`redoubt status`" + ` shows the same to people. A metric is there if the process has that role.

Worth an alarm: ` + "`redoubt_problems > 0`" + ` (redoubt status says which), ` + "`redoubt_certificate_expiry_timestamp_seconds - time() < 86400`" + `, ` + "`increase(redoubt_engine_restarts_total[1h]) > 0`" + `, ` + "`redoubt_sidecar_cache_reachable == 0`" + `.

| metric | kind | meaning |
|---|---|---|
| ` + "`redoubt_ready`" + ` | gauge | 1 if the process can serve. |
| ` + "`redoubt_problems`" + ` | gauge | What redoubt status shows as problems. |
`

// TestEveryMetricIsDocumentedAndWellNamed, by Prometheus's conventions.
func TestEveryMetricIsDocumentedAndWellNamed(t *testing.T) {
	var b strings.Builder
	b.WriteString(metricsHead)
	list := admin.Describe(reflect.TypeFor[facts]())
	if len(list) < 15 {
		t.Fatalf("only %d metrics are found", len(list))
	}
	for _, d := range list {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, d.Kind, d.Help)
		if !strings.HasPrefix(d.Name, "redoubt_") || d.Help == "" || strings.ContainsAny(d.Help, "|\n\\") || strings.ToLower(d.Name) != d.Name {
			t.Errorf("%+v: a name that begins with redoubt_ and a help text of one line are needed", d)
		}
	}
	const page = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(page); err != nil || string(have) != b.String() {
		t.Errorf("%s differs from the code (%v): run go test ./internal/cli -update", page, err)
	}
}
