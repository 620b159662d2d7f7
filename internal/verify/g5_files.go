package verify

import (
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var codeIsRoots = Check{
	ID: "RD-531", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "The engine's program and libraries can be changed by root alone",
	Why:        "Whoever can change them has code of their own in the engine at its next start, with all the cached data.",
	Mend:       "Put the distribution's package back (apt-get install --reinstall), and let nobody but root write in its directories.",
	References: []string{"45 CFR 164.312(c)(1)", "NIST SP 800-53r5 CM-5", "NIST SP 800-53r5 SI-7"},
	Needs:      needEngineAsRoot,
	Run: onEngine(func(p process, a engine.Audit, n *Notes) Finding {
		maps, err := p.read("maps")
		if err != nil {
			return n.Skip("%v", err)
		}
		var files []string
		for line := range strings.Lines(maps) {
			fields := strings.Fields(line)
			if len(fields) < 6 || !strings.HasPrefix(fields[5], "/") || slices.Contains(files, fields[5]) {
				continue
			}
			files = append(files, fields[5])
			if strings.Contains(line, " (deleted)") {
				return n.Fail("%s was replaced since the engine was started: restart the gateway", fields[5])
			}
		}
		for _, path := range files {
			n.Saw("%s", path)
			if err := host.RootsAlone(path); err != nil {
				return n.Fail("%v", err)
			}
		}
		return n.Pass("mapped files, each root's alone with the directories that lead there: %d", len(files))
	}),
}
