package dossier_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// everyone are the hosts of a deployment, and from where each looks.
var everyone = map[string]evidence.Vantage{
	"cache-1": evidence.CacheHost, "web-1": evidence.AppHost, "web-2": evidence.AppHost, "mallory": evidence.Outsider,
}

// found1 is a deployment in which each host has found what it is told, and everything else
// good; a host that is told nil gave no report.
type found1 map[string]map[string]evidence.Outcome

func (f found1) dossier(r *rig, fips string) *dossier.Dossier {
	r.t.Helper()
	return make1(r.t, f.sources(r, fips))
}

func (f found1) sources(r *rig, fips string) dossier.Sources {
	r.t.Helper()
	s := dossier.Sources{
		Deployment: "clinic", Owner: "Jo", Version: "1.0", Now: now, CA: r.ca, Policy: &engine.Policy{},
		Hosts: &config.Deployment{
			Deployment: "clinic", SSHPort: 22, Bastions: at("10.77.0.9"),
			Gateways: []config.Gate{{Name: "cache-1", Address: at("10.77.0.2"), Port: 6379}},
			Apps:     []config.App{{Name: "web-1", Address: at("10.77.0.3")}, {Name: "web-2", Address: at("10.77.0.4")}},
		},
	}
	for host, from := range everyone {
		outcomes, told := f[host]
		if told && outcomes == nil {
			continue
		}
		key := fmt.Sprint(host, outcomes, fips)
		if _, known := r.made[key]; !known {
			r.made[key] = r.reportWith(host, from, outcomes, map[string]string{"FIPS 140-3 mode of this redoubt": fips})
		}
		s.Evidence = append(s.Evidence, r.made[key])
	}
	return s
}

// sentences are all that a dossier says of its controls, with the checks that carry each.
func sentences(d *dossier.Dossier) (list []dossier.Said) {
	for _, g := range d.Goals {
		list = append(list, g.How...)
	}
	for _, r := range d.Risks {
		list = append(list, dossier.Said{Text: r.Mitigation + " | " + r.Residual, Checks: r.Checks})
	}
	return list
}

// TestNoSentenceStandsWithoutItsFinding breaks one check after the other, by a failure on
// one host, by a skip, and by a report that isn't there: every sentence and every control
// that rests on it says so.
func TestNoSentenceStandsWithoutItsFinding(t *testing.T) {
	r := newRig(t)
	good := found1{}.dossier(r, "on, module v1.0.0")
	for _, s := range sentences(good) {
		if len(s.Checks) > 0 && (strings.Contains(s.Text, "Not ") || strings.Contains(s.Text, "not wholly")) {
			t.Errorf("all is good, and it says %q", s.Text)
		}
	}
	changed := func(t *testing.T, id, want string, f found1) {
		t.Helper()
		d := f.dossier(r, "on, module v1.0.0")
		before, after, rests := sentences(good), sentences(d), 0
		for i, s := range after {
			if !slices.Contains(s.Checks, id) {
				continue
			}
			rests++
			if s.Text == before[i].Text || !strings.Contains(s.Text, id) {
				t.Errorf("%s, and it says %q", want, s.Text)
			}
		}
		if rests == 0 {
			t.Errorf("no sentence rests on %s", id)
		}
		for _, g := range d.Goals {
			if got := outcomeOf(g.Checks, id); got != "" && got != want {
				t.Errorf("%s is said to be %q, want %q", id, got, want)
			}
		}
		for _, c := range d.Controls {
			if slices.Contains(c.Checks, id) && c.Outcome != want {
				t.Errorf("%s rests on it, and is said to be %q, want %q", c.Text, c.Outcome, want)
			}
		}
	}
	for _, c := range verify.Checks() {
		t.Run(c.ID, func(t *testing.T) {
			skipped := found1{}
			for host, from := range everyone {
				if !verify.Sees(from, c) {
					continue
				}
				changed(t, c.ID, dossier.Fails, found1{host: {c.ID: evidence.Fail}})
				skipped[host] = map[string]evidence.Outcome{c.ID: evidence.Skip}
				if c.Scope() == verify.EachHost && (from != evidence.Outsider || c.From == verify.Outside) {
					changed(t, c.ID, dossier.Unproven, found1{host: skipped[host]})
					changed(t, c.ID, dossier.Unproven, found1{host: nil})
				}
			}
			changed(t, c.ID, dossier.Unproven, skipped)
		})
	}
}

// TestAGatewayDoesNotSpeakForAnother: with two gateways, whom each lets in is for each to
// show; only that the CA's record is whole is shown by one.
func TestAGatewayDoesNotSpeakForAnother(t *testing.T) {
	s := found1{}.sources(newRig(t), "")
	s.Hosts.Gateways = append(s.Hosts.Gateways, config.Gate{Name: "cache-2", Address: at("10.77.0.5"), Port: 6379})
	want := map[string]string{"RD-203": "[cache-2]", "RD-204": "[cache-2]", "RD-205": "[cache-2]", "RD-501": "[cache-2]", "RD-602": "[]"}
	for _, g := range make1(t, s).Goals {
		for _, c := range g.Checks {
			if lacking, of := want[c.ID]; of && fmt.Sprint(c.Lacking) != lacking {
				t.Errorf("%s lacks %v, want %s", c.ID, c.Lacking, lacking)
			}
		}
	}
}

// TestSeveralCachesAreARisk: each gateway has values of its own.
func TestSeveralCachesAreARisk(t *testing.T) {
	s := found1{}.sources(newRig(t), "")
	one, two := s.Hosts.Gateways, append(s.Hosts.Gateways, config.Gate{Name: "cache-2", Address: at("10.77.0.5"), Port: 6379})
	for _, gateways := range [][]config.Gate{one, two} {
		s.Hosts.Gateways = gateways
		named := slices.ContainsFunc(make1(t, s).Risks, func(r dossier.Risk) bool { return strings.Contains(r.Weakness, "a cache of its own") })
		if named != (len(gateways) > 1) {
			t.Errorf("%d gateways: the risk is named: %v", len(gateways), named)
		}
	}
}

// TestWhoDidNotKnockShowsNothing: an application host speaks for the gateways that it
// knocked at, not for all.
func TestWhoDidNotKnockShowsNothing(t *testing.T) {
	for want, doors := range map[string][]string{
		"[cache-1 cache-2]": nil, "[cache-2]": {"cache-1"}, "[]": {"cache-1", "cache-2"},
	} {
		r := newRig(t)
		s := found1{"cache-1": {"RD-201": evidence.Skip}, "web-1": nil, "web-2": nil}.sources(r, "")
		s.Hosts.Gateways = append(s.Hosts.Gateways, config.Gate{Name: "cache-2", Address: at("10.77.0.5"), Port: 6379})
		f := found("web-1", evidence.AppHost, nil)
		f.Doors = doors
		s.Evidence = append(s.Evidence, signedBy(t, f, r.host(identity.App, "web-1")))
		for _, c := range make1(t, s).Goals[1].Checks {
			if c.ID == "RD-201" && fmt.Sprint(c.Lacking) != want {
				t.Errorf("web-1 knocked at %v: RD-201 lacks %v, want %s", doors, c.Lacking, want)
			}
		}
	}
}

// TestAGroupIsNoHost: its hosts are asked, not the group.
func TestAGroupIsNoHost(t *testing.T) {
	s := found1{}.sources(newRig(t), "")
	s.Hosts.Apps = append(s.Hosts.Apps, config.App{Name: "workers", Network: at("10.77.1.0")})
	for _, g := range make1(t, s).Goals {
		for _, c := range g.Checks {
			if slices.Contains(c.Lacking, "workers") {
				t.Errorf("%s lacks %v", c.ID, c.Lacking)
			}
		}
	}
}

// TestNobodySpeaksForTheCAButItsHost: a report that says it was made on one machine is
// taken from nobody who belongs to a deployment of hosts.
func TestNobodySpeaksForTheCAButItsHost(t *testing.T) {
	r := newRig(t)
	f := found("web-1", evidence.OneMachine, nil)
	e := signedBy(t, f, r.host(identity.App, "web-1"))
	e.Name = "one-machine.json"
	if _, err := evidence.Decode(e.Text); err == nil {
		t.Error("a report of one machine is read that is of the deployment clinic")
	}
	s := found1{"cache-1": {"RD-602": evidence.Skip}}.sources(r, "")
	s.Evidence = append(s.Evidence, e)
	for _, g := range make1(t, s).Goals {
		for _, c := range g.Checks {
			if c.ID == "RD-602" && c.Outcome != dossier.Unproven {
				t.Errorf("RD-602 %s by the word of web-1", c.Outcome)
			}
		}
	}
}

// TestAPartIsNotTakenForTheWhole: where something is left to others, a control holds in
// part at best; where no check bears on it, it is said whose it is.
func TestAPartIsNotTakenForTheWhole(t *testing.T) {
	whole := 0
	for _, c := range (found1{}).dossier(newRig(t), "on, module v1.0.0").Controls {
		switch {
		case len(c.Checks) == 0 && (c.Outcome != dossier.Unproven || c.Rest == ""):
			t.Errorf("%s has no check, is said to be %q, and nobody answers for it", c.Text, c.Outcome)
		case len(c.Checks) > 0 && c.Rest != "" && c.Outcome != dossier.Partly:
			t.Errorf("%s: %s, and left is: %s", c.Text, c.Outcome, c.Rest)
		case len(c.Checks) > 0 && c.Rest == "":
			whole++
		}
		for _, id := range c.Also {
			if !slices.Contains(c.Checks, id) {
				t.Errorf("%s: there is no %s", c.Text, id)
			}
		}
	}
	if whole > 12 {
		t.Errorf("%d controls are claimed whole", whole)
	}
}

// TestWithoutEvidenceNothingIsClaimed: in neither form, nor to tools.
func TestWithoutEvidenceNothingIsClaimed(t *testing.T) {
	d := found1{"cache-1": nil, "web-1": nil, "web-2": nil, "mallory": nil}.dossier(newRig(t), "")
	for name, render := range map[string]func() ([]byte, error){"page": d.HTML, "Markdown": d.Markdown, "OSCAL": d.AssessmentResults, "component": d.ComponentDefinition} {
		text, err := render()
		if err != nil {
			t.Fatal(err)
		}
		for _, claim := range []string{
			"holds: ", ">holds<", `"satisfied"`, `"holds"`, "which this deployment has", "standards are implemented", "opens to application hosts only",
			"within a second", "can be rebuilt", "behind mutually", "counts as secured", "no connection is lost",
		} {
			if bytes.Contains(text, []byte(claim)) {
				t.Errorf("%s says %q", name, claim)
			}
		}
	}
}

// TestFIPSIsClaimedWhereItIsOn: RD-303 passes without it.
func TestFIPSIsClaimedWhereItIsOn(t *testing.T) {
	r := newRig(t)
	for mode, want := range map[string]string{"on, module v1.0.0": dossier.Partly, "off": dossier.NotOn, "": dossier.NotOn} {
		d := found1{}.dossier(r, mode)
		for _, c := range d.Controls {
			if c.Text == "FIPS 140-3" && c.Outcome != want {
				t.Errorf("mode %q: %s", mode, c.Outcome)
			}
		}
		if secured := strings.Contains(d.Breach(), "it counts as secured"); secured != (want == dossier.Partly) {
			t.Errorf("mode %q: %s", mode, d.Breach())
		}
	}
	for id, f := range map[string]found1{
		"fails": {"cache-1": {"RD-301": evidence.Fail}}, "nobody knows": {"web-2": nil},
	} {
		if got := f.dossier(r, "on, module v1.0.0").Breach(); strings.Contains(got, "it counts as secured") {
			t.Errorf("%s: %s", id, got)
		}
	}
}

// TestWhatIsLostIsSaidByThePolicy.
func TestWhatIsLostIsSaidByThePolicy(t *testing.T) {
	for want, p := range map[string]*engine.Policy{
		"can be computed again, so no copy":   {},
		"used for sessions, queues":           {Uses: []engine.Use{engine.Sessions, engine.Queues}},
		"not known: no policy was given":      nil,
		"is used as a cache, for what can be": {Uses: []engine.Use{engine.Cache}},
	} {
		d := make1(t, dossier.Sources{Deployment: "clinic", Version: "1.0", Now: now, Policy: p})
		if got := d.Scope()[3].Text; !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
}

// TestEvidenceIsWantedFromWhoeverCanGetIn: a host of a group, or one that deployment.yaml
// doesn't name, has a certificate.
func TestEvidenceIsWantedFromWhoeverCanGetIn(t *testing.T) {
	r := newRig(t)
	for host := range everyone {
		if host != "mallory" {
			r.host(map[bool]identity.Role{true: identity.Gateway, false: identity.App}[host == "cache-1"], host)
		}
	}
	r.host(identity.App, "worker-7")
	d := found1{}.dossier(r, "")
	if !strings.Contains(strings.Join(d.Warnings, "\n"), "no evidence from worker-7") {
		t.Error(d.Warnings)
	}
	for _, g := range d.Goals {
		for _, c := range g.Checks {
			if want := c.ID == "RD-447"; want && (c.Outcome != dossier.Unproven || fmt.Sprint(c.Lacking) != "[worker-7]") {
				t.Errorf("%+v", c)
			}
		}
	}
}

func outcomeOf(checks []dossier.Check, id string) string {
	for _, c := range checks {
		if c.ID == id {
			return c.Outcome
		}
	}
	return ""
}
