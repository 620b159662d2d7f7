package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/lockdown"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/trail"
)

type logCmd struct {
	Dir   string   `placeholder:"DIR" help:"Whose log: the CA's directory, that of a deployment of redoubt up, or another with a log in it. Default: each that there is of /etc/redoubt/ca, /etc/redoubt, /var/lib/redoubt-host and redoubt up."`
	Since logSince `placeholder:"TIME" help:"Show what was done from then on: 12h or 30d ago, or a moment as 2026-11-28T07:30:00Z. The whole chain is looked at all the same."`
	JSON  bool     `name:"json" help:"Print the records as they lie in the log, one line of JSON each."`
}

// logSince is a moment, or so long ago.
type logSince time.Time

func (s *logSince) UnmarshalText(text []byte) error {
	if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
		*s = logSince(at)
		return nil
	}
	ago, err := parseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a time such as 12h or 30d nor a moment such as 2026-11-28T07:30:00Z", text)
	}
	*s = logSince(time.Now().Add(-ago))
	return nil
}

func (logCmd) Help() string {
	return `Shows who changed trust or state with which command, when, and how it ended: from the log that lies beside the CA's ledger, and from those of this host (redoubt host, join, secret). Each record has the hash of the one before it. So the command says, last, whether the chain holds: the exit code is 1 if a record was changed, or is missing in the middle or at an end.

LOGIN is whom the session was opened for, whatever he became with su or sudo since ("-": nobody had logged in, as in cron). A command without an end was killed, or is still running; or the machine stopped. Secrets are never in it, files with secrets by name only. It is kept for six years.

Whoever is root here can make a whole log anew. Note the hash that stands at the end, or send the host's journal elsewhere, which has the same records.

Example:

  sudo redoubt log
  sudo redoubt log --dir /etc/redoubt/ca --since 30d
  sudo redoubt log --json | jq -r 'select(.command == "pki revoke") | [.time, .who.login, .args[-1]] | @tsv'`
}

func (c *logCmd) Run(e *env) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	broken := 0
	for i, dir := range dirs {
		if i > 0 && !c.JSON {
			fmt.Fprintln(e.stdout)
		}
		holds, err := c.show(e, dir)
		if err != nil {
			return err
		}
		if !holds {
			broken++
		}
	}
	if broken > 0 {
		return fmt.Errorf("log: %s changed or cut: find out by whom (docs/operations.md, What administrators did)", count(broken, "log was", "logs were"))
	}
	return nil
}

// dirs are the directories whose logs are meant.
func (c *logCmd) dirs() ([]string, error) {
	if c.Dir != "" {
		dir := caDir(c.Dir)
		if !trail.Beside(dir).Exists() {
			return nil, fmt.Errorf("log: there is none in %s: nothing was done there yet, or its directory %s was removed", dir, trail.Name)
		}
		return []string{dir}, nil
	}
	known := []string{"/etc/redoubt/ca", "/etc/redoubt", lockdown.RecordDir}
	if own, err := statedir.Default(); err == nil {
		known = append(known, caDir(own))
	}
	dirs := slices.DeleteFunc(slices.Clone(known), func(dir string) bool { return !trail.Beside(dir).Exists() })
	if len(dirs) == 0 {
		return nil, fmt.Errorf("log: there is none in %s: name the directory with --dir, or ask as root", strings.Join(known, ", "))
	}
	return dirs, nil
}

// show prints one log, and says whether its chain holds.
func (c *logCmd) show(e *env, dir string) (holds bool, err error) {
	log, out := trail.Beside(dir), newLogOutput(e)
	if !c.JSON {
		out.paper.title(filepath.Join(dir, trail.Name))
	}
	chain, err := log.Read(func(r *trail.Record, line []byte) error {
		switch {
		case r.Time.Before(time.Time(c.Since)):
			return nil
		case c.JSON:
			_, err := e.stdout.Write(line)
			return err
		}
		out.take(*r)
		return nil
	})
	if err != nil {
		return false, err
	}
	if c.JSON {
		out.w = e.stderr
	} else if err := out.end(); err != nil {
		return false, err
	}
	out.verdict(chain)
	return len(chain.Faults) == 0, nil
}
