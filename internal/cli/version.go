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

type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source; with -dirty when it was changed
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
	fmt.Fprintf(e.stdout, "redoubt %s\nrevision %s\n%s %s, FIPS 140-3 mode %s\n", b.Version, b.Revision, b.Go, b.Platform, mode)
	return nil
}

func readBuild() build {
	b := build{Version: "unknown", Revision: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, FIPS140: fips140.Enabled()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Revision += "-dirty"
		}
	}
	return b
}

func versionString() string { return readBuild().Version }
