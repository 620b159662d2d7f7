package identity_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

func TestParseReadsWhatStringPrints(t *testing.T) {
	for _, uri := range []string{
		"spiffe://clinic/gateway/cache-1",
		"spiffe://clinic/app/web",
		"spiffe://cache.prod.clinic.example/app/web-01.eu.clinic.example",
		"spiffe://1st/app/10.0.0.1",
		"spiffe://a/app/b",
		"spiffe://" + strings.Repeat("d", 63) + "/gateway/" + strings.Repeat("n", 63),
	} {
		id, err := identity.Parse(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if id.String() != uri || id.URL().String() != uri {
			t.Errorf("%s came back as %s and %s", uri, id, id.URL())
		}
		again, err := identity.New(id.Deployment(), id.Role(), id.Name())
		if err != nil || again != id {
			t.Errorf("%s: New of its parts gives %v, %v", uri, again, err)
		}
	}
}

func TestParseRefusesEverythingElse(t *testing.T) {
	for _, uri := range []string{
		"", "spiffe", "spiffe:", "spiffe://", "spiffe:///app/web", "spiffe://clinic",
		"spiffe://clinic/", "spiffe://clinic/app", "spiffe://clinic/app/", "spiffe://clinic//web",
		"spiffe://clinic/app/web/", "spiffe://clinic/app/web/more", "spiffe://clinic/app//web",
		"SPIFFE://clinic/app/web", "spiffe://Clinic/app/web", "spiffe://clinic/App/web", "spiffe://clinic/app/Web",
		"http://clinic/app/web", " spiffe://clinic/app/web", "spiffe://clinic/app/web ", "spiffe://clinic/app/web\n",
		"spiffe://clinic:1/app/web", "spiffe://u@clinic/app/web", "spiffe://clinic/app/web?", "spiffe://clinic/app/web#",
		"spiffe://clinic/app/web?a=b", "spiffe://clinic/app/w%65b", "spiffe://clinic/app/wëb", "spiffe://clinic/app/web\x00",
		"spiffe://clinic/admin/web", "spiffe://clinic/gatewayapp/web",
		"spiffe://clinic/app/.", "spiffe://clinic/app/..", "spiffe://clinic/app/a..b", "spiffe://clinic/app/-a",
		"spiffe://clinic/app/a-", "spiffe://clinic/app/a-.b", "spiffe://clinic./app/web", "spiffe://.clinic/app/web",
		"spiffe://10.0.0.1/app/web", "spiffe://127/app/web", "spiffe://[::1]/app/web",
		"spiffe://" + strings.Repeat("d", 64) + "/app/web", "spiffe://clinic/app/" + strings.Repeat("n", 64),
	} {
		if id, err := identity.Parse(uri); err == nil || !id.IsZero() {
			t.Errorf("%q was taken as %v", uri, id)
		}
	}
}

// TestOnlyTheGrammarsBytesAreTaken puts every byte value at every kind of place.
func TestOnlyTheGrammarsBytesAreTaken(t *testing.T) {
	inner := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' }
	outer := func(c byte) bool { return inner(c) && c != '-' && c != '.' }
	letter := func(c byte) bool { return c >= 'a' && c <= 'z' }
	never := func(byte) bool { return false }
	for _, place := range []struct {
		name, before, after string
		ok                  func(byte) bool
	}{
		{"before the scheme", "", "spiffe://clinic/app/web", never},
		{"in the scheme", "spif", "fe://clinic/app/web", never},
		{"after the scheme", "spiffe", "://clinic/app/web", never},
		{"deployment's first", "spiffe://", "linic/app/web", outer},
		{"deployment's middle", "spiffe://cli", "nic/app/web", inner},
		{"deployment's last", "spiffe://clini", "/app/web", outer},
		{"deployment's last label", "spiffe://clinic.", "/app/web", letter},
		{"role's first", "spiffe://clinic/", "app/web", never},
		{"role's last", "spiffe://clinic/app", "/web", never},
		{"name's first", "spiffe://clinic/app/", "eb", outer},
		{"name's middle", "spiffe://clinic/app/w", "b", inner},
		{"name's last", "spiffe://clinic/app/we", "", outer},
	} {
		for v := range 256 {
			c := byte(v)
			uri := place.before + string([]byte{c}) + place.after
			if _, err := identity.Parse(uri); (err == nil) != place.ok(c) {
				t.Errorf("%s: byte %#02x in %q: %v", place.name, c, uri, err)
			}
		}
	}
}

func TestNobodyIsNobody(t *testing.T) {
	var nobody identity.ID
	if !nobody.IsZero() || nobody.String() != "" || nobody.URL() != nil {
		t.Errorf("the zero ID is %q, %v", nobody, nobody.URL())
	}
	if _, err := identity.Parse(nobody.String()); err == nil {
		t.Error("nobody's string was taken as somebody")
	}
	if _, err := identity.New("clinic", "", "web"); err == nil {
		t.Error("an ID without a role was made")
	}
}

func TestErrorsNeverRepeatMoreThanAGlance(t *testing.T) {
	_, err := identity.Parse("spiffe://clinic/app/" + strings.Repeat("x", 1<<16))
	if err == nil || len(err.Error()) > 512 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestJSONShowsTheURI(t *testing.T) {
	id, err := identity.New("clinic", identity.App, "web")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(map[string]identity.ID{"peer": id})
	if err != nil || string(got) != `{"peer":"spiffe://clinic/app/web"}` {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"spiffe://clinic/app/web", "spiffe://a.b-c/gateway/1.2", "spiffe://clinic/app/web?", "spiffe://%63/app/web", "spiffe://c/app/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := identity.Parse(s)
		if err != nil {
			if !id.IsZero() {
				t.Fatalf("%q: an error and an ID", s)
			}
			return
		}
		if id.String() != s || id.URL().String() != s {
			t.Fatalf("%q came back as %q and %q", s, id, id.URL())
		}
	})
}
