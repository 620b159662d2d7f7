package cli

import (
	"crypto/fips140"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (versionCmd) Help() string {
	return `Example:

  redoubt version --json | jq -r .version`
}

// version is set by the Makefile, to what git describe says of the source.
var version = ""

type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	FIPS140  bool   `json:"fips140"` // Go's FIPS 140-3 module is in force
}

func (c *versionCmd) Run(e *env) error {
	b := readBuild()
	if c.JSON {
		return writeJSON(e.stdout, b)
	}
	mode := "off"
	if b.FIPS140 {
		mode = "on"
	}
	fmt.Fprintf(e.stdout, "redoubt %s\n%s %s, FIPS 140-3 mode %s\n", b.Version, b.Go, b.Platform, mode)
	return nil
}

func readBuild() build {
	return build{Version: versionString(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, FIPS140: fips140.Enabled()}
}

// versionString is the Makefile's; of a binary that was made by "go install"
// what the go command knows.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
