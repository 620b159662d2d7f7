package migration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// A Verdict is what becomes of a line.
type Verdict string

// The verdicts, in the order in which a person wants to read them.
const (
	Refused   Verdict = "refused"   // Redoubt can't do it: a person decides
	Unknown   Verdict = "unknown"   // in no table of ours: a person looks
	LeftOut   Verdict = "left out"  // one of these two, and the caller said to go on without
	Tightened Verdict = "tightened" // safer than it was
	Changed   Verdict = "changed"   // other than it was
	Kept      Verdict = "kept"
	Dropped   Verdict = "dropped" // without a meaning there
)

var order = []Verdict{Refused, Unknown, LeftOut, Tightened, Changed, Kept, Dropped}

// A Finding is a line, or something that no line says, and what becomes of it.
type Finding struct {
	File    string  `json:"file"`
	Line    int     `json:"line,omitempty"` // 0: no line says it
	Name    string  `json:"name"`           // the directive or option
	Was     string  `json:"was,omitempty"`  // its value; never one that may be a secret
	Verdict Verdict `json:"verdict"`
	Becomes string  `json:"becomes,omitempty"` // in which key of ours
	Why     string  `json:"why"`
	Weak    bool    `json:"weak,omitempty"` // it was a weakness, named as such
}

// Where is the place as people and editors write it.
func (f Finding) Where() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// Options say what to read, and what the files don't tell.
type Options struct {
	Redis         string // redis.conf
	Stunnel       string // stunnel's file of the cache host
	ClientStunnel string // that of an application host; "": none
	User          string // whom the application logs in as; "": default
	CommandStats  string // what INFO commandstats said of the running Redis; "": not asked
	Service       string // the section that is Redis's; "": the one that fits
	ClientService string // that of the application host; "": the one that fits

	Deployment string   // names, as certificates will have them
	Name       string   // the cache host
	ClientName string   // the application host whose sidecar.yaml is made; "": the first of Apps
	Address    string   // IP address of the cache host; "": as the files have it
	Listen     string   // HOST:PORT of the gateway; "": beside what is there
	Apps       []Host   // application hosts
	Bastions   []string // where ssh may come from

	Uses, Allow []string // what applications do, where the caller knows it
	Without     []string // directives to go on without
	Now         time.Time
}

// A Host is an application host, or a group with a network.
type Host struct{ Name, Source string }

// A File is what an import writes and may show: no secret is in it.
type File struct {
	Path string `json:"path"` // in the directory that Write is given
	Text string `json:"text"`
}

// Plan is what becomes of a deployment made by hand.
type Plan struct {
	Deployment string    `json:"deployment"`
	Name       string    `json:"name"`
	Findings   []Finding `json:"findings"`
	Files      []File    `json:"files"`   // none while something is refused or unknown
	Secrets    []string  `json:"secrets"` // paths of what Write makes besides, of mode 0600
	Steps      []Step    `json:"steps"`

	password credential
	sidecar  string // HOST:PORT where applications find their cache
}

// A Step is left to a person.
type Step struct {
	What     string   `json:"what"`
	Commands []string `json:"commands,omitempty"`
}

// credential is what applications prove themselves with.
type credential struct {
	app     string             // the password, if a file says it
	digests []passwords.Digest // of all that are good
}

// Blocked says whether a person has to decide first.
func (p *Plan) Blocked() bool {
	return slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Verdict == Refused || f.Verdict == Unknown })
}

// Count is how many findings have a verdict.
func (p *Plan) Count(v Verdict) (n int) {
	for _, f := range p.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// Weak is how many weaknesses end.
func (p *Plan) Weak() (n int) {
	for _, f := range p.Findings {
		if f.Weak {
			n++
		}
	}
	return n
}

// Groups are the findings with the same verdict, reason and outcome, in the order
// of the verdicts; within one, weaknesses first.
func (p *Plan) Groups() [][]Finding {
	var groups [][]Finding
	for _, f := range p.Findings {
		i := slices.IndexFunc(groups, func(g []Finding) bool {
			return g[0].Verdict == f.Verdict && g[0].Why == f.Why && g[0].Becomes == f.Becomes && g[0].Weak == f.Weak
		})
		if i < 0 {
			groups = append(groups, []Finding{f})
		} else {
			groups[i] = append(groups[i], f)
		}
	}
	rank := func(g []Finding) int {
		r := 2 * slices.Index(order, g[0].Verdict)
		if !g[0].Weak {
			r++
		}
		return r
	}
	slices.SortStableFunc(groups, func(a, b []Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return groups
}

// journal collects findings while files are read.
type journal struct{ findings []Finding }

func (j *journal) add(f Finding) { j.findings = append(j.findings, f) }

// leaveOut turns what is refused into what the caller goes on without. A name
// that nothing refused has is a mistake of the caller's.
func (j *journal) leaveOut(names []string) error {
	for _, name := range names {
		found := false
		for i, f := range j.findings {
			if strings.EqualFold(f.Name, name) && (f.Verdict == Refused || f.Verdict == Unknown) {
				j.findings[i].Verdict, found = LeftOut, true
			}
		}
		if !found {
			return fmt.Errorf("--without %s: nothing of that name is refused here", name)
		}
	}
	return nil
}
