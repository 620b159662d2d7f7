package cli

import (
	"crypto/fips140"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (versionCmd) Help() string {
	return `Example:

  redoubt version --json | jq -r .version
  redoubt version --json | jq -e '.fips140.mode != "off"'`
}

// version is set by the Makefile, to what git describe says of the source.
var version = ""

type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	FIPS140  fips   `json:"fips140"`
}

// fips is what protects the traffic as FIPS 140-3 sees it (docs/fips.md). Both
// parts are of the running process: GODEBUG can change the mode of any build.
type fips struct {
	Mode   string `json:"mode"`   // off, on, or only: what isn't approved fails
	Module string `json:"module"` // the version of Go's module; "latest" is that of the toolchain, validated by nobody
}

func (f fips) String() string {
	if f.Mode == "off" {
		return "FIPS 140-3 mode off"
	}
	return fmt.Sprintf("FIPS 140-3 mode %s, module %s", f.Mode, f.Module)
}

func (c *versionCmd) Run(e *env) error {
	b := readBuild()
	if c.JSON {
		return writeJSON(e.stdout, b)
	}
	fmt.Fprintf(e.stdout, "redoubt %s\n%s %s, %s\n", b.Version, b.Go, b.Platform, b.FIPS140)
	return nil
}

func readBuild() build {
	return build{Version: versionString(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, FIPS140: readFIPS()}
}

func readFIPS() fips {
	f := fips{Mode: "off", Module: fips140.Version()}
	switch {
	case fips140.Enforced():
		f.Mode = "only"
	case fips140.Enabled():
		f.Mode = "on"
	}
	return f
}

// versionString is the Makefile's; of a binary that was made by "go install"
// what the go command knows.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return strings.Trim(info.Main.Version, "()") // (devel), where no version control was at hand
	}
	return "unknown"
}
