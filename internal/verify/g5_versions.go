package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var engineIsMended = Check{
	ID: "RD-512", Goal: evidence.NoChange, From: OnCache,
	Title:      "The engine has the fixes of every known vulnerability that a client could reach",
	Why:        "A flaw in the engine is the way past its rules: to the data of others, or to code of the intruder's own.",
	Mend:       "Install the distribution's update of redis-server or valkey-server and restart the gateway; where there is none, choose a maintained engine (engine.binary).",
	References: []string{"45 CFR 164.308(a)(1)(ii)(B)", "NIST SP 800-53r5 SI-2", "NIST SP 800-53r5 RA-5"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Fact("engine", a.Version.String())
		if time.Since(tableDate) > tableLife {
			return n.Skip("unknown: this redoubt's table is of %s; a newer redoubt has a newer one", tableDate.Format(time.DateOnly))
		}
		pkg, err := debianPackage(a.Binary)
		if err != nil {
			return n.Skip("unknown: the package that %s belongs to can't be found out: %v", a.Binary, err)
		}
		if _, err := os.Stat("/usr/lib/sysimage/rpm"); err == nil && pkg == "" && strings.HasPrefix(a.Binary, "/usr/bin/") {
			return n.Skip("unknown: the distribution's package of %s carries fixes that its version doesn't show: ask its security advisories (dnf updateinfo)", a.Version)
		}
		n.Fact("package", pkg)
		n.Saw("table of %s; vulnerabilities that a client could reach: %d", tableDate.Format(time.DateOnly), len(reachable))
		switch is, reason := judge(a.Version, pkg); is {
		case sound:
			return n.Pass("%s", reason)
		case vulnerable:
			for _, line := range unmended(a.Version, pkg) {
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

// debianPackage is the version of the Debian package that a binary is from; "" if it
// is from none.
func debianPackage(binary string) (version string, err error) {
	for _, name := range []string{"redis-server", "valkey-server", "redis-tools", "valkey-tools"} {
		list, err := os.ReadFile(dpkgDir + "/info/" + name + ".list")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if strings.Contains("\n"+string(list), "\n"+binary+"\n") {
			return packageVersion(name)
		}
	}
	return "", nil
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
