package dossier_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/redoubt-cache/redoubt/internal/dossier"
)

// TestOSCALIsAsNISTSaysIt, by a validator that isn't ours; and the validator finds what
// is wrong.
func TestOSCALIsAsNISTSaysIt(t *testing.T) {
	for name, c := range map[string]struct {
		encode func(*dossier.Dossier) ([]byte, error)
		spoil  [2]string
	}{
		"component":          {(*dossier.Dossier).ComponentDefinition, [2]string{`"control-id"`, `"control"`}},
		"assessment-results": {(*dossier.Dossier).AssessmentResults, [2]string{`"TEST"`, `7`}},
	} {
		t.Run(name, func(t *testing.T) {
			compiler := jsonschema.NewCompiler()
			file, err := os.ReadFile("testdata/oscal_" + name + "_schema.json")
			if err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			byPlace(doc, namedDefinitions(doc))
			if err := compiler.AddResource("oscal.json", doc); err != nil {
				t.Fatal(err)
			}
			schema, err := compiler.Compile("oscal.json")
			if err != nil {
				t.Fatal(err)
			}
			for what, s := range map[string]dossier.Sources{"all": sources(t), "no evidence": {Deployment: "clinic", Now: now, Version: "1.0"}} {
				text, err := c.encode(make1(t, s))
				if err != nil {
					t.Fatal(err)
				}
				valid := func(text []byte) error {
					v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
					if err != nil {
						t.Fatal(err)
					}
					return schema.Validate(v)
				}
				if err := valid(text); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if spoiled := bytes.Replace(text, []byte(c.spoil[0]), []byte(c.spoil[1]), 1); !bytes.Equal(spoiled, text) && valid(spoiled) == nil {
					t.Errorf("%s: the validator takes %s for %s", what, c.spoil[1], c.spoil[0])
				}
			}
		})
	}
}

// namedDefinitions are the definitions of NIST's schema by the names that it refers to
// them by. Some stand beside a $ref, where draft 7 has a validator overlook them: so
// they are referred to by their places instead.
func namedDefinitions(doc any) map[string]string {
	places := map[string]string{}
	for name, definition := range doc.(map[string]any)["definitions"].(map[string]any) {
		fields := definition.(map[string]any)
		if id, ok := fields["$id"].(string); ok {
			places[id] = "#/definitions/" + name
			delete(fields, "$id")
		}
	}
	return places
}

func byPlace(node any, places map[string]string) {
	switch node := node.(type) {
	case map[string]any:
		if ref, ok := node["$ref"].(string); ok && places[ref] != "" {
			node["$ref"] = places[ref]
		}
		for _, child := range node {
			byPlace(child, places)
		}
	case []any:
		for _, child := range node {
			byPlace(child, places)
		}
	}
}

// TestOSCALIsByStatement: a finding is of a statement, not of a whole control, and where
// something is left to others it is partial, with what.
func TestOSCALIsByStatement(t *testing.T) {
	d := found1{}.dossier(newRig(t), "")
	var doc struct {
		AR struct {
			Results []struct {
				Findings []struct {
					Target struct {
						Type           string
						ID             string `json:"target-id"`
						Status         struct{ State, Reason, Remarks string }
						Implementation struct{ State, Remarks string } `json:"implementation-status"`
					}
				}
			}
		} `json:"assessment-results"`
	}
	text, err := d.AssessmentResults()
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, r := range doc.AR.Results {
		for _, f := range r.Findings {
			target := f.Target
			if target.Type != "statement-id" || !strings.Contains(target.ID, "_smt") || (target.Status.State == "satisfied") != (target.Implementation.State == "implemented") {
				t.Errorf("%+v", target)
			}
			if target.Status.State != "satisfied" && !strings.Contains(target.Status.Remarks, "Not shown by these checks") {
				t.Errorf("%s: %q", target.ID, target.Status.Remarks)
			}
			states[target.ID] = target.Status.State
		}
	}
	for id, want := range map[string]string{"sc-8_smt": "satisfied", "sc-8.1_smt": "satisfied", "ca-8_smt": "not-satisfied", "ra-5_smt.a": "not-satisfied", "sc-5_smt.a": "not-satisfied"} {
		if states[id] != want {
			t.Errorf("%s: %q, want %s", id, states[id], want)
		}
	}
}
