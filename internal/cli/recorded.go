package cli

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/lockdown"
	"github.com/redoubt-cache/redoubt/internal/trail"
)

// What administrators do is on record: who gave which command when, and how it ended
// (docs/decisions/0176). A subcommand that changes trust or state is an act; before it
// does anything, and once more when it has ended, a record goes into the log that lies
// beside what it changes, and into the host's journal. What can't be recorded isn't done.
//
// The roles that stay (gateway, sidecar) are no acts: systemd starts them, again and again
// if need be, and the journal has it.
type act interface {
	// recordIn is the directory whose log tells of it: the CA's, or that of the files
	// which it changes. "": there is none, or not yet.
	recordIn() string
}

func (c *pkiInitCmd) recordIn() string         { return ofCA(c.Dir) }
func (c *pkiIssueCmd) recordIn() string        { return ofCA(c.Dir) }
func (c *pkiSignCmd) recordIn() string         { return ofCA(c.Dir) }
func (c *pkiRevokeCmd) recordIn() string       { return ofCA(c.Dir) }
func (c *pkiRotateStartCmd) recordIn() string  { return ofCA(c.Dir) }
func (c *pkiRotateSwitchCmd) recordIn() string { return ofCA(c.Dir) }
func (c *pkiRotateFinishCmd) recordIn() string { return ofCA(c.Dir) }
func (c *pkiPassphraseCmd) recordIn() string   { return ofCA(c.Dir) }
func (c *tokenCreateCmd) recordIn() string     { return ofCA(c.Dir) }
func (c *tokenRevokeCmd) recordIn() string     { return ofCA(c.Dir) }
func (c *dossierWriteCmd) recordIn() string    { return ofCA(c.CA) }
func (c *dossierAttestCmd) recordIn() string   { return ofCA(c.CA) }

// A key that is made here, or a certificate that is put beside it, says nothing yet: who
// signs for it does, where the CA is.
func (c *pkiRequestCmd) recordIn() string { return "" }
func (c *pkiImportCmd) recordIn() string  { return "" }

func (c *joinCmd) recordIn() string         { return ofDir(c.Dir) }
func (c *reloadCmd) recordIn() string       { return c.changed() }
func (c *secretNewCmd) recordIn() string    { return "" }
func (c *secretRotateCmd) recordIn() string { return c.changed() }
func (c *secretRetireCmd) recordIn() string { return c.changed() }
func (c *hostApplyCmd) recordIn() string    { return ofHost() }
func (c *hostConfirmCmd) recordIn() string  { return ofHost() }
func (c *hostUndoCmd) recordIn() string     { return ofHost() }

// changed is whose password it is.
func (a secretAt) changed() string {
	if a.Dir != "" {
		return ofCA(a.Dir)
	}
	if a.Digests != "" && exists(a.Digests) {
		return ofDir(filepath.Dir(a.Digests))
	}
	return ""
}

// A verification issues and revokes certificates of its own, and has the engine make a
// user to attack as.
func (c *verifyCmd) recordIn() string {
	at := *c
	if c.List || c.Outside || at.locate() != nil {
		return ""
	}
	if at.Dir != "" {
		return ofCA(at.Dir)
	}
	if conf, err := config.LoadGateway(at.Config); err == nil {
		return ofCA(string(conf.PKI.Dir))
	}
	return ""
}

// ofCA is a CA's directory, if there is a CA in it.
func ofCA(dir string) string {
	if dir = caDir(dir); exists(filepath.Join(dir, "ca.crt")) {
		return dir
	}
	return ""
}

func ofDir(dir string) string {
	if exists(dir) {
		return dir
	}
	return ""
}

// ofHost is where redoubt host keeps what it changed. Only root can change it.
func ofHost() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return ofDir(lockdown.RecordDir)
}

// run runs the subcommand, with what it does on record.
func (e *env) run(call *kong.Context) error {
	a, ok := call.Selected().Target.Addr().Interface().(act)
	if !ok {
		return call.Run()
	}
	r := trail.Record{Who: trail.Me(), Command: strings.Join(words(call.Selected()), " "), Args: trail.Arguments(arguments(call)), Outcome: trail.Began}
	var err error
	if r.Of, err = record(a.recordIn(), r); err != nil {
		return coded{fmt.Errorf("nothing was done, since it can't be recorded: %w", err), exitEnvironment}
	}
	err = call.Run()
	r.Outcome, r.Exit = trail.Done, exitCode(err)
	if r.Exit != exitGood {
		r.Outcome = trail.Failed
	}
	if _, lost := record(a.recordIn(), r); lost != nil && err == nil {
		return fmt.Errorf("it was done, but that can't be recorded: %w", lost)
	}
	return err
}

// record tells the journal, and the log in a directory if there is one.
func record(dir string, r trail.Record) (n uint64, err error) {
	if dir != "" {
		n, err = trail.Beside(dir).Append(r)
	}
	if err == nil {
		tellJournal(journalSocket, r)
	}
	return n, err
}

// arguments are those that were given, but for secrets: what a flag names as a file is
// only named.
func arguments(call *kong.Context) (list []string) {
	for i, p := range call.Path {
		again := func(before *kong.Path) bool { return p.Flag != nil && before.Flag == p.Flag }
		switch {
		case slices.ContainsFunc(call.Path[:i], again): // its value has them all
		case p.Flag != nil && p.Flag.IsBool():
			list = append(list, "--"+p.Flag.Name)
		case p.Flag != nil:
			list = append(list, "--"+p.Flag.Name+"="+valueText(call.Value(p)))
		case p.Positional != nil && p.Positional.Tag.Has("secret"):
			list = append(list, p.Positional.Summary())
		case p.Positional != nil:
			list = append(list, valueText(call.Value(p)))
		}
	}
	return list
}

// valueText is a value as it is typed.
func valueText(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v)
	}
	var parts []string
	for i := range v.Len() {
		parts = append(parts, fmt.Sprint(v.Index(i)))
	}
	return strings.Join(parts, ",")
}

// journalSocket takes what is for the host's log: systemd-journald, or a syslog daemon.
const journalSocket = "/dev/log"

// tellJournal writes a line to the host's log, where there is one: RFC 3164, facility
// authpriv, severity notice. Nobody waits for one that doesn't read.
func tellJournal(socket string, r trail.Record) {
	conn, err := net.DialTimeout("unixgram", socket, time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	line := &strings.Builder{}
	fmt.Fprintf(line, "<%d>redoubt[%d]: ", 10<<3|5, os.Getpid())
	slog.New(slog.NewTextHandler(line, &slog.HandlerOptions{ReplaceAttr: untimed})).Info("administrator",
		"command", r.Command, "args", strings.Join(r.Args, " "), "outcome", string(r.Outcome), "exit", r.Exit,
		"user", r.Who.User, "uid", r.Who.UID, "login", r.Who.Login, "sudo", r.Who.Sudo, "host", r.Who.Host)
	conn.Write([]byte(line.String()))
}

// untimed leaves the time to the log, which has its own.
func untimed(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}
