package verify

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var configurationIsRead = Check{
	ID: "RD-507", Goal: evidence.NoChange, From: OnBoth,
	Title:      "What runs has read the configuration that lies on this host",
	Why:        "A file that was edited and not taken in documents a cache that doesn't exist, until the next restart makes it so without anybody's notice.",
	Mend:       "If the file is right: redoubt reload, and a restart of the gateway or the sidecar (systemctl restart) only for what that says needs one; else put back the file of before.",
	References: []string{"45 CFR 164.316(b)(1)", "NIST SP 800-53r5 CM-6", "NIST SP 800-53r5 CM-5"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		told := 0
		for _, r := range t.configurations() {
			if r.file == "" {
				continue // redoubt up has no configuration file: its flags are its configuration
			}
			if r.running == "" {
				return n.Skip("the %s that runs with this configuration doesn't answer (redoubt status says more)", r.name)
			}
			n.Saw("%s, fingerprint of the file: %s, of what the process has read: %s", r.name, r.file, r.running)
			if r.file != r.running {
				return n.Fail("the file has changed since the %s took it in, or holds what only a restart takes in (redoubt reload --dry-run says which)", r.name)
			}
			flags, another, err := r.startedWith()
			if err != nil {
				return n.Skip("how the %s was started can't be seen: %v", r.name, err)
			}
			n.Fact("flags of the "+r.name, flags)
			if another != "" {
				return n.Fail("the %s was started with %s, not with %s", r.name, another, r.config)
			}
			told++
		}
		if told == 0 {
			return n.Skip("redoubt up has no configuration file: its flags are its configuration")
		}
		return n.Pass("what runs has read what the file says now: %d", told)
	},
}

// A configuration is a role's file, and what its process has read.
type configuration struct {
	process
	config        string // path of the file; "": not known
	file, running string // fingerprints
}

func (t *Target) configurations() (list []configuration) {
	if c := t.Cache; c != nil {
		list = append(list, configuration{process{"gateway", c.PID}, c.Config, c.Fingerprint, c.Running})
	}
	if a := t.App; a != nil {
		list = append(list, configuration{process{"sidecar", a.PID}, a.Config, a.Fingerprint, a.Running})
	}
	return list
}

// startedWith are the flags that a process was started with, and the configuration that
// it was, if that is another file.
func (c configuration) startedWith() (flags, another string, err error) {
	line, err := c.read("cmdline")
	if err != nil {
		return "", "", err
	}
	args := strings.Split(strings.TrimSuffix(line, "\x00"), "\x00")
	started := "/etc/redoubt/" + c.name + ".yaml" // the flag's default
	var rest []string
	for i := 1; i < len(args); i++ {
		value, is := strings.CutPrefix(args[i], "--config")
		switch {
		case is && strings.HasPrefix(value, "="):
			started = value[1:]
		case is && value == "" && i+1 < len(args):
			i++
			started = args[i]
		case args[i] != c.name:
			rest = append(rest, args[i])
		}
	}
	flags = strings.Join(rest, " ")
	if c.config == "" {
		return flags, "", nil
	}
	if !filepath.IsAbs(started) {
		cwd, err := os.Readlink(c.path("cwd"))
		if err != nil {
			return flags, "", err
		}
		started = filepath.Join(cwd, started)
	}
	running, err := os.Stat(c.path("root", started)) // as the process sees it
	if err != nil {
		return flags, "", err
	}
	ours, err := os.Stat(c.config)
	if err != nil {
		return flags, "", err
	}
	if !os.SameFile(running, ours) {
		another = started
	}
	return flags, another, nil
}

// builtIn are modules that are part of an engine and can't be left out.
var builtIn = []string{"vectorset", "lua"} // Redis 8.0 and later; Valkey 9.1

var noModules = Check{
	ID: "RD-510", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "No module is loaded into the engine",
	Why:        "A module is machine code with the engine's memory at its hands, and brings commands that no rule of ours knows.",
	Mend:       "Find out what loads it: our configuration has no loadmodule line. Use the distribution's engine, without a vendor's additions (engine.binary).",
	References: []string{"NIST SP 800-53r5 CM-7", "NIST SP 800-53r5 SI-7"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Saw("INFO modules of %s names %d", a.Version, len(a.Modules))
		for _, module := range a.Modules {
			name, _, _ := strings.Cut(strings.TrimPrefix(module, "name="), ",")
			n.Fact("module "+name, module)
			if !slices.Contains(builtIn, name) {
				return n.Fail("the module %s is loaded", name)
			}
		}
		return n.Pass("none but what is built into this engine")
	}),
}

var noReplication = Check{
	ID: "RD-511", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "The engine copies its data to no other one, and takes none from another",
	Why:        "A replica is a whole copy of the cache, on a host that nobody has locked down; a primary replaces all that the cache holds.",
	Mend:       "Restart the gateway, and find out who could reach the engine's socket.",
	References: []string{"45 CFR 164.312(c)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 AC-4"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Fact("role", a.Info["role"])
		n.Fact("connected_slaves", a.Info["connected_slaves"])
		if a.Info["role"] != "master" || a.Info["connected_slaves"] != "0" {
			return n.Fail("INFO replication says role %q, %s replicas", a.Info["role"], a.Info["connected_slaves"])
		}
		return n.Pass("INFO replication: it stands alone")
	}),
}
