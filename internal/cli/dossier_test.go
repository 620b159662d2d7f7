package cli

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/dossier"
)

// TestProceduresNameCommandsThatThereAre: people follow them when something is wrong.
func TestProceduresNameCommandsThatThereAre(t *testing.T) {
	d, err := dossier.New(dossier.Sources{Deployment: "clinic", Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	_, procedures, ok := bytes.Cut(text, []byte("## 6. Operating procedures"))
	if !ok {
		t.Fatal("the dossier has no procedures")
	}
	helps := func(words ...string) bool {
		return Main(append(words, "--help"), strings.NewReader(""), io.Discard, io.Discard) == exitGood
	}
	named := 0
	for _, m := range regexp.MustCompile(`redoubt ([a-z]+) ?([a-z]*)`).FindAllSubmatch(procedures, -1) {
		first, second := string(m[1]), string(m[2])
		if first == "up" || !helps(first) {
			t.Errorf("there is no redoubt %s", first)
		}
		group := map[string]bool{"pki": true, "token": true, "secret": true, "render": true}
		if group[first] && !helps(first, second) {
			t.Errorf("there is no redoubt %s %s", first, second)
		}
		named++
	}
	if named < 8 {
		t.Errorf("only %d commands are named", named)
	}
}
