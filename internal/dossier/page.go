package dossier

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

//go:embed templates
var templates embed.FS

// functions are what both forms' templates call.
var functions = map[string]any{
	"date": func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"day":  func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"join": strings.Join, "rules": func() string { return rules },
	"slug": slug, "prose": prose, "cell": cell,
}

// pages are the HTML documents: html/template escapes whatever is put into them.
var pages = template.Must(template.New("").Funcs(functions).ParseFS(templates, "templates/*.html"))

var texts = texttemplate.Must(texttemplate.New("").Funcs(functions).ParseFS(templates, "templates/*.md"))

// Procedures are what people do, and Scope what the cache doesn't do, for the templates.
func (d *Dossier) Procedures() []Procedure { return d.operations() }

// Scope are the decisions about what the cache doesn't do.
func (d *Dossier) Scope() []Procedure { return d.scope() }

// HTML is the dossier as one page that needs nothing besides.
func (d *Dossier) HTML() ([]byte, error) { return render("dossier.html", d) }

// Annex is the product's decisions as a page of their own.
func (d *Dossier) Annex() ([]byte, error) { return render("decisions.html", d) }

// ReportPage is one report of redoubt verify as a page.
func ReportPage(r *evidence.Report) ([]byte, error) {
	var goals []reportGoal
	for _, g := range evidence.Goals() {
		rg := reportGoal{Number: int(g), Goal: g}
		for _, c := range r.Checks {
			if c.Goal == g {
				rg.Checks = append(rg.Checks, c)
			}
		}
		if len(rg.Checks) > 0 {
			goals = append(goals, rg)
		}
	}
	return render("report.html", struct {
		*evidence.Report
		Goals []reportGoal
	}{r, goals})
}

type reportGoal struct {
	Number int
	evidence.Goal
	Checks []evidence.Result
}

func render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	err := pages.ExecuteTemplate(&b, name, data)
	return b.Bytes(), err
}

// Markdown is the same for those who read or compare text.
func (d *Dossier) Markdown() ([]byte, error) {
	var b bytes.Buffer
	err := texts.ExecuteTemplate(&b, "dossier.md", d)
	return b.Bytes(), err
}

// cell is a text in a table of Markdown.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;").Replace(s)
}

// slug is an outcome as a class of the style sheet.
func slug(outcome any) string {
	switch fmt.Sprint(outcome) {
	case Holds, string(evidence.Pass):
		return "good"
	case Fails, string(evidence.Fail):
		return "bad"
	}
	return "open"
}

var (
	codeMark = regexp.MustCompile("`([^`]+)`")
	boldMark = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// prose is text of ours with Markdown's marks for code and weight as HTML. The text is
// escaped first.
func prose(text string) template.HTML {
	var b strings.Builder
	for _, paragraph := range strings.Split(text, "\n\n") {
		if paragraph = strings.TrimSpace(paragraph); paragraph == "" {
			continue
		}
		escaped := template.HTMLEscapeString(paragraph)
		escaped = boldMark.ReplaceAllString(codeMark.ReplaceAllString(escaped, "<code>$1</code>"), "<strong>$1</strong>")
		b.WriteString("<p>" + strings.ReplaceAll(escaped, "\n- ", "<br>• ") + "</p>")
	}
	return template.HTML(b.String())
}

// A Box is a host in the diagram.
type Box struct {
	Y          int
	Name, Line string
}

// Diagram is where the hosts stand in the picture of the data's way.
type Diagram struct {
	Apps, Caches   []Box
	Height, Middle int
}

const (
	boxStep  = 64
	mostDraw = 8
)

// Draw lays the hosts out; of many, the first ones.
func (d *Dossier) Draw() Diagram {
	var g Diagram
	place := func(role ...string) (boxes []Box) {
		left := 0
		for _, h := range d.Hosts {
			if !strings.Contains(strings.Join(role, " "), h.Role) {
				continue
			}
			if len(boxes) == mostDraw {
				left++
				continue
			}
			boxes = append(boxes, Box{60 + len(boxes)*boxStep, h.Name, h.Address})
		}
		if left > 0 {
			boxes[mostDraw-1].Line = fmt.Sprintf("and %d more", left)
		}
		return boxes
	}
	g.Apps = place("application host", "group of application hosts", "cache and application")
	g.Caches = place("cache host", "cache and application")
	g.Height = 80 + boxStep*max(len(g.Apps), len(g.Caches), 1)
	g.Middle = 40 + (g.Height-80)/2
	return g
}
