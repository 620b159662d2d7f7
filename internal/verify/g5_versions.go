package verify

import (
	"bufio"
	"crypto/md5" // Debian's own lists have nothing newer (deb-md5sums(5))
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var engineIsMended = Check{
	ID: "RD-512", Goal: evidence.NoChange, From: OnCache,
	Title:      "The engine that runs has the fixes of every vulnerability in redoubt's table of " + tableDate.Format(time.DateOnly),
	Why:        "A flaw in the engine is the way past its rules: to the data of others, or to code of the intruder's own. The table has what a client could reach, as it was known on its day; a scanner knows the rest.",
	Mend:       "Install the distribution's update of redis-server or valkey-server and restart the gateway; where there is none, choose a maintained engine (engine.binary).",
	References: []string{"45 CFR 164.308(a)(1)(ii)(B)", "NIST SP 800-53r5 SI-2", "NIST SP 800-53r5 RA-5"},
	Needs:      needEngineAsRoot,
	Run: onEngine(func(p process, a engine.Audit, n *Notes) Finding {
		n.Fact("engine", a.Version.String())
		if age := time.Since(tableDate); age > tableLife {
			return n.Skip("unknown: this redoubt's table is of %s, %d days ago, and believed for %d: a newer redoubt has a newer one", tableDate.Format(time.DateOnly), int(age.Hours()/24), int(tableLife.Hours()/24))
		}
		binary, err := os.Readlink(p.path("exe"))
		if err != nil {
			return n.Skip("unknown: the program that runs can't be looked at: %v", err)
		}
		if was, gone := strings.CutSuffix(binary, " (deleted)"); gone {
			return n.Fail("%s was replaced since the engine was started, which runs the old one: restart the gateway", was)
		}
		said := a.Version.Product + " " + a.Info[a.Version.Product+"_version"]
		n.Saw("process %d runs %s, and INFO says %s", p.pid, binary, said)
		if said != a.Version.String() {
			return n.Fail("what runs says that it is %s, and its program was %s when it was started: restart the gateway", said, a.Version)
		}
		pkg, err := packageOf(binary)
		if err != nil {
			return n.Skip("unknown: the package that %s belongs to can't be found out: %v", binary, err)
		}
		if _, err := os.Stat("/usr/lib/sysimage/rpm"); err == nil && pkg.version == "" && strings.HasPrefix(binary, "/usr/bin/") {
			return n.Skip("unknown: the distribution's package of %s carries fixes that its version doesn't show: ask its security advisories (dnf updateinfo)", a.Version)
		}
		if pkg.version != "" {
			if f := pkg.runs(p, binary, a.Version, n); f.outcome != evidence.Pass {
				return f
			}
		}
		n.Fact("package", pkg.version)
		n.Saw("table of %s; vulnerabilities that a client could reach: %d", tableDate.Format(time.DateOnly), len(reachable))
		switch is, reason := judge(a.Version, pkg.version); is {
		case sound:
			return n.Pass("%s, as known on %s", reason, tableDate.Format(time.DateOnly))
		case vulnerable:
			for _, line := range unmended(a.Version, pkg.version) {
				n.Saw("not mended: %s", line)
			}
			return n.Fail("%s", reason)
		default:
			return n.Skip("unknown: %s", reason)
		}
	}),
}

// Debian's database of packages (dpkg(1), FILES).
const dpkgDir = "/var/lib/dpkg"

// A debianPackage is one that is installed; the zero value is none.
type debianPackage struct{ name, version string }

// packageOf is the package that a file is from.
func packageOf(file string) (p debianPackage, err error) {
	for _, name := range []string{"redis-server", "valkey-server", "redis-tools", "valkey-tools"} {
		list, err := os.ReadFile(dpkgDir + "/info/" + name + ".list")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, err
		}
		if strings.Contains("\n"+string(list), "\n"+file+"\n") {
			version, err := packageVersion(name)
			return debianPackage{name, version}, err
		}
	}
	return p, nil
}

// runs passes if what a process runs is the package's file, byte by byte, and of the
// version that the package is named by: else its version says nothing of the process.
func (d debianPackage) runs(p process, binary string, v engine.Version, n *Notes) Finding {
	if number := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch); !strings.HasPrefix(upstreamOf(d.version)+"+", number+"+") {
		return n.Fail("what runs is %s, and the package that %s belongs to is %s", v, binary, d.version)
	}
	sums, err := os.ReadFile(dpkgDir + "/info/" + d.name + ".md5sums")
	if err != nil {
		return n.Skip("unknown: %v", err)
	}
	running, err := os.Open(p.path("exe"))
	if err != nil {
		return n.Skip("unknown: %v", err)
	}
	defer running.Close()
	sum := md5.New()
	if _, err := io.Copy(sum, running); err != nil {
		return n.Skip("unknown: %v", err)
	}
	for line := range strings.Lines(string(sums)) {
		want, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if "/"+file != binary {
			continue
		}
		if want != hex.EncodeToString(sum.Sum(nil)) {
			return n.Fail("%s isn't the file that the package %s %s has there (dpkg --verify %s): which fixes it has nobody knows", binary, d.name, d.version, d.name)
		}
		n.Saw("%s is the file of %s %s", binary, d.name, d.version)
		return n.Pass("it is the package's")
	}
	return n.Skip("unknown: %s.md5sums doesn't name %s", d.name, binary)
}

// packageVersion reads the stanza of an installed package.
func packageVersion(name string) (string, error) {
	status, err := os.Open(dpkgDir + "/status")
	if err != nil {
		return "", err
	}
	defer status.Close()
	lines := bufio.NewScanner(status)
	lines.Buffer(nil, 1<<20)
	within := false
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "Package":
			within = value == name
		case "Version":
			if within {
				return value, nil
			}
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%s/status has no package %s", dpkgDir, name)
}
