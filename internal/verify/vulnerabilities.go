package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
)

// tableDate is the day on which the tables below were last held against the
// projects' release notes and Debian's changelogs.
var tableDate = time.Date(2026, time.November, 25, 0, 0, 0, 0, time.UTC)

// tableLife is how long the tables are believed. After it nothing is known: a new
// redoubt each quarter is what keeps RD-512 from being skipped.
const tableLife = 90 * 24 * time.Hour

// least is, by product and branch, the first upstream release with every fix that
// the table knows of.
var least = map[string]string{
	"redis 6.2": "6.2.24", "redis 7.2": "7.2.16", "redis 7.4": "7.4.11", "redis 8.2": "8.2.9",
	"redis 8.4": "8.4.6", "redis 8.6": "8.6.6", "redis 8.8": "8.8.3", "redis 8.10": "8.10.2",
	"valkey 8.1": "8.1.10", "valkey 9.0": "9.0.6", "valkey 9.1": "9.1.2",
}

// ended are branches that get no more fixes from their project: only a
// distribution's package of one can be sound.
var ended = []string{"redis 7.0", "redis 8.0", "valkey 7.2", "valkey 8.0"}

// leastPackage is the same for Debian's packages, which carry fixes under the
// upstream version that they began with.
var leastPackage = map[string]string{
	"redis 7.0.15":  "5:7.0.15-1~deb12u10",
	"redis 8.0.2":   "5:8.0.2-3+deb13u3",
	"redis 8.0.6":   "5:8.0.6-3",
	"valkey 8.1.1":  "8.1.1+dfsg1-3+deb13u3",
	"valkey 9.1.2":  "9.1.2",
	"valkey 8.1.10": "8.1.10",
}

// A vulnerability that a client can reach behind us, with the first upstream
// releases and Debian packages that mend it.
type vulnerability struct {
	id, what string
	upstream []string // "redis 7.2.16": the first release of a branch
	debian   []string // "5:7.0.15-1~deb12u5": the first package of an upstream version
}

// reachable are the known ones that an admitted host, or the application with its
// rights, could use. Not here is what needs what we close: the engine's own TLS,
// RESTORE, scripts (when closed), modules, replication, the cluster's bus.
var reachable = []vulnerability{
	{"CVE-2026-82631", "use after free among clients blocked on one key", []string{"redis 8.2.9", "redis 8.10.1", "valkey 9.1.2"}, []string{"8.1.1+dfsg1-3+deb13u3"}},
	{"CVE-2026-23479", "use after free when a blocked client is evicted", []string{"redis 7.4.9", "redis 8.2.6", "redis 8.4.3", "redis 8.6.3", "valkey 8.1.7", "valkey 9.0.4", "valkey 9.1.0"}, []string{"5:8.0.2-3+deb13u3"}},
	{"GHSA-fq2f-crmw-q97r", "use after free in the Lua debugger's table, without a password", []string{"valkey 9.1.2"}, nil},
	{"CVE-2026-27623", "an assertion by a malformed request, without a password", []string{"valkey 9.0.3"}, nil},
	{"CVE-2025-62507", "XACKDEL overflows the stack (refused by our rules)", []string{"redis 8.2.3"}, nil},
	{"CVE-2025-32023", "HyperLogLog writes out of bounds", []string{"redis 6.2.19", "redis 7.2.10", "redis 7.4.5", "redis 8.0.3", "valkey 8.0.4", "valkey 8.1.3"}, []string{"5:7.0.15-1~deb12u5"}},
	{"CVE-2025-48367", "protocol errors keep others from connecting", []string{"redis 8.0.3", "valkey 8.1.3"}, []string{"5:7.0.15-1~deb12u5"}},
	{"CVE-2025-21605", "output buffers grow without a password", []string{"redis 7.4.3", "redis 8.0.0", "valkey 8.1.1"}, []string{"5:7.0.15-1~deb12u4"}},
	{"CVE-2024-31228", "patterns of KEYS, SCAN and PSUBSCRIBE overflow the stack", []string{"redis 7.2.6", "redis 7.4.1", "valkey 7.2.7", "valkey 8.0.1"}, []string{"5:7.0.15-1~deb12u2"}},
}

// A verdict is what is known of an engine's fixes.
type verdict int

const (
	unknown verdict = iota
	sound
	vulnerable
)

// judge holds an engine, and the Debian package that it is from ("" for none),
// against the tables.
func judge(v engine.Version, pkg string) (is verdict, reason string) {
	branch := fmt.Sprintf("%s %d.%d", v.Product, v.Major, v.Minor)
	number := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	if want := least[branch]; want != "" && compareVersions(number, want) >= 0 {
		return sound, fmt.Sprintf("%s has the fixes up to %s", v, want)
	}
	if pkg != "" {
		want := leastPackage[v.String()]
		switch {
		case want == "", strings.Contains(pkg, "ubuntu"): // whose packages carry fixes of their own
			return unknown, fmt.Sprintf("which fixes the package %s carries is not in this redoubt's table", pkg)
		case compareVersions(pkg, want) >= 0:
			return sound, fmt.Sprintf("the package %s carries the fixes up to %s", pkg, want)
		}
		return vulnerable, fmt.Sprintf("the package %s is older than %s", pkg, want)
	}
	if want := least[branch]; want != "" {
		return vulnerable, fmt.Sprintf("%s is older than %s", v, want)
	}
	if slices.Contains(ended, branch) {
		return vulnerable, fmt.Sprintf("%s gets no more fixes from its project", branch)
	}
	return unknown, fmt.Sprintf("%s is not in this redoubt's table", branch)
}

// unmended lists the reachable vulnerabilities that this engine has, as far as the
// table knows its branch or package.
func unmended(v engine.Version, pkg string) (list []string) {
	branch, number := fmt.Sprintf("%s %d.%d.", v.Product, v.Major, v.Minor), fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	for _, c := range reachable {
		lacks := func(mended []string, same func(string) bool, ours string) bool {
			return slices.ContainsFunc(mended, func(m string) bool {
				return same(m) && compareVersions(ours, m[strings.Index(m, " ")+1:]) < 0
			})
		}
		if pkg == "" && lacks(c.upstream, func(m string) bool { return strings.HasPrefix(m, branch) }, number) ||
			pkg != "" && lacks(c.debian, func(m string) bool { return upstreamOf(m) == upstreamOf(pkg) }, pkg) {
			list = append(list, fmt.Sprintf("%s (%s)", c.id, c.what))
		}
	}
	return list
}

// upstreamOf is the upstream part of a package's version.
func upstreamOf(pkg string) string {
	if _, after, ok := strings.Cut(pkg, ":"); ok {
		pkg = after
	}
	if i := strings.LastIndex(pkg, "-"); i >= 0 {
		pkg = pkg[:i]
	}
	return pkg
}

// compareVersions compares as dpkg does (deb-version(7)): epoch, upstream version,
// revision; a tilde sorts before anything, even the end.
func compareVersions(a, b string) int {
	epoch := func(v string) (string, string) {
		if e, rest, ok := strings.Cut(v, ":"); ok {
			return e, rest
		}
		return "0", v
	}
	revision := func(v string) (string, string) {
		if i := strings.LastIndex(v, "-"); i >= 0 {
			return v[:i], v[i+1:]
		}
		return v, ""
	}
	ea, a := epoch(a)
	eb, b := epoch(b)
	if c := comparePart(ea, eb); c != 0 {
		return c
	}
	ua, ra := revision(a)
	ub, rb := revision(b)
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(ra, rb)
}

// comparePart compares alternating runs of non-digits and digits.
func comparePart(a, b string) int {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	order := func(s string) int {
		switch {
		case s == "" || digit(s[0]):
			return 0
		case s[0] == '~':
			return -1
		case s[0] >= 'a' && s[0] <= 'z', s[0] >= 'A' && s[0] <= 'Z':
			return int(s[0])
		}
		return int(s[0]) + 256
	}
	number := func(s string) (digits, rest string) {
		i := 0
		for i < len(s) && digit(s[i]) {
			i++
		}
		return strings.TrimLeft(s[:i], "0"), s[i:]
	}
	for a != "" || b != "" {
		for (a != "" && !digit(a[0])) || (b != "" && !digit(b[0])) {
			if oa, ob := order(a), order(b); oa != ob {
				return oa - ob
			}
			a, b = a[1:], b[1:] // of equal order, so neither is at its end
		}
		na, ra := number(a)
		nb, rb := number(b)
		if len(na) != len(nb) {
			return len(na) - len(nb)
		}
		if c := strings.Compare(na, nb); c != 0 {
			return c
		}
		a, b = ra, rb
	}
	return 0
}
