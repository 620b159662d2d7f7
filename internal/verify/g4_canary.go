package verify

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// haunts are the directories where a value would turn up, were it written: where
// engines keep their files, where logs, core dumps and crash reports go, and where
// anything may be put down.
var haunts = []string{
	"/tmp", "/var/tmp", "/dev/shm", "/run/redoubt", "/var/lib/redis", "/var/lib/valkey", "/var/lib/redoubt",
	"/var/log", "/run/log/journal", "/var/crash", "/var/lib/systemd/coredump", "/var/spool/abrt",
}

// Bounds of a search: what has changed since the canary was let go is little.
const (
	maxSearched  = 2000      // files
	maxRead      = 256 << 20 // bytes in all
	searchWithin = 15 * time.Second
)

var canaryStaysInMemory = Check{
	ID: "RD-401", Goal: evidence.AtRest, From: OnCache,
	Title:      "A value that is written to the cache turns up in no file",
	Why:        "It is the claim itself, tried with a value of its own: written, read back, refused in commands, and then looked for wherever it might have gone.",
	Mend:       "The file that is named shows who wrote it: a proxy or a tool that logs what passes, an engine that somebody else started. End that, and remove the file by overwriting it: patient data may be in it.",
	References: []string{"45 CFR 164.312(a)(2)(iv)", "45 CFR 164.310(d)(1)", "NIST SP 800-53r5 SC-28", "NIST SP 800-53r5 SI-11", "NIST SP 800-53r5 MP-6"},
	Needs:      []Need{needRoot, needEngine, needGuest},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		c, err := t.asGuest(ctx)
		if err != nil {
			return n.Fail("as a user with the application's rights: %v", err)
		}
		defer c.close()
		return letGo(ctx, t, n, c, a.RunDir)
	},
}

var canaryPassesTheSidecar = Check{
	ID: "RD-405", Goal: evidence.AtRest, From: OnApp,
	Title:      "A value that passes the sidecar turns up in no file of the application host",
	Why:        "Values pass this host in the clear, within it: what logs them there has them for good.",
	Mend:       canaryStaysInMemory.Mend,
	References: canaryStaysInMemory.References,
	Needs:      []Need{needRoot, needPassword},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		c, err := t.asApplication(ctx)
		if err != nil {
			return n.Skip("the cache doesn't answer the application at %s: %v", t.App.Listen, err)
		}
		defer c.close()
		return letGo(ctx, t, n, c)
	},
}

// letGo releases a canary and looks for it, in the places where values turn up and in
// some more. A file that holds it on purpose shows that the search can see.
func letGo(ctx context.Context, t *Target, n *Notes, c *conversation, more ...string) Finding {
	ctx, cancel := context.WithTimeout(ctx, searchWithin)
	defer cancel()
	began := time.Now().Add(-time.Second) // file systems keep coarser time than we do
	canary := make([]byte, 16)
	rand.Read(canary)
	mark := "canary" + hex.EncodeToString(canary)
	if f := release(n, c, mark); f.outcome != evidence.Pass {
		return f
	}
	control, err := plant(mark)
	if err != nil {
		return n.Skip("a search that has nothing to find shows nothing: %v", err)
	}
	defer os.Remove(control)

	s := search{ctx: ctx, mark: []byte(mark), since: began}
	for _, dir := range append(append(slices.Clone(haunts), more...), filepath.Dir(control)) {
		s.walk(dir)
	}
	for _, p := range t.ours(ctx) {
		s.openIn(p)
	}
	n.Saw("files that have changed since, and were read: %d, %d KB, below %s, and what our processes have open for writing", len(s.seen), s.read>>10, strings.Join(haunts, ", "))
	n.Saw("swap devices are not read: RD-402 says whether anything of ours is there")
	for _, lacking := range s.lacking {
		n.Saw("not read: %s", lacking)
	}
	i := slices.Index(s.found, control)
	if i < 0 {
		return n.Fail("the search is blind: it did not find the file that held the value on purpose")
	}
	n.Saw("the control was found: a file of ours, which held the value on purpose")
	if s.found = slices.Delete(s.found, i, i+1); len(s.found) > 0 {
		n.Saw("found in %s", strings.Join(s.found, ", "))
		return n.Fail("it is in %s", s.found[0])
	}
	return n.Pass("it is in none of %d files that have changed since", len(s.seen)-1)
}

// release lets the canary go: as a value and a key that end by themselves, and in
// commands that fail, since errors are logged where values are not.
func release(n *Notes, c *conversation, mark string) Finding {
	key := engine.GuestPrefix + mark
	for _, step := range []struct {
		args []string
		want string // what the reply begins with
	}{
		{[]string{"SET", key, mark, "EX", "60"}, "+OK"},
		{[]string{"GET", key}, "$" + mark},
		{[]string{"LPUSH", key, mark}, "-WRONGTYPE"},
		{[]string{"EVAL", "return redis.error_reply('" + mark + "')", "0"}, ""}, // refused, or open by policy
		{[]string{mark, mark}, "-"},
		{[]string{"DEL", key}, ":1"},
	} {
		reply, err := c.do(step.args...)
		if err != nil {
			return n.Fail("%s: the connection ended: %v", strings.Replace(step.args[0], mark, "an unknown command", 1), err)
		}
		shown := strings.ReplaceAll(step.args[0], mark, "an unknown command")
		n.Saw("%s with the canary: %s", shown, code(reply))
		switch code(reply) {
		case "OOM": // and the policy evicts nothing
			return n.Skip("the cache is full, and takes no value")
		case "NOAUTH":
			return n.Skip("who answers took the password, and yet the engine wants one: no value gets as far")
		}
		if !strings.HasPrefix(reply, step.want) {
			return n.Fail("%s with the canary is answered with %s", shown, code(reply))
		}
	}
	return n.Pass("")
}

// plant makes the file that the search must find.
func plant(mark string) (path string, err error) {
	f, err := os.CreateTemp("", "redoubt-verify-")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(mark)
	return f.Name(), errors.Join(err, f.Close())
}

// search looks for a mark in files that have changed since a moment.
type search struct {
	ctx   context.Context
	mark  []byte
	since time.Time

	seen    []string
	read    int64
	found   []string
	lacking []string
}

func (s *search) walk(dir string) {
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil { // what goes away meanwhile is of others
			if !errors.Is(err, fs.ErrNotExist) {
				s.lacking = append(s.lacking, err.Error())
			}
			return nil
		}
		if s.ctx.Err() != nil {
			return filepath.SkipAll
		}
		if e.Type().IsRegular() {
			if info, err := e.Info(); err == nil && info.ModTime().After(s.since) {
				s.look(path, path)
			}
		}
		return nil
	})
}

// openIn looks into what a process has open for writing, wherever it lies, and also
// where it has no name any more.
func (s *search) openIn(p process) {
	list, err := p.descriptors()
	if err != nil {
		s.lacking = append(s.lacking, err.Error())
		return
	}
	for _, d := range list {
		if strings.HasPrefix(d.to, "/") && d.writable() {
			s.look(p.path("fd", d.number), d.to)
		}
	}
}

func (s *search) look(path, name string) {
	if slices.Contains(s.seen, name) {
		return
	}
	if len(s.seen) >= maxSearched || s.read >= maxRead || s.ctx.Err() != nil {
		s.lacking = append(s.lacking, name+": enough was read")
		return
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		s.lacking = append(s.lacking, err.Error())
		return
	}
	defer f.Close()
	s.seen = append(s.seen, name)
	// What was appended lies at the end.
	const tail = 64 << 20
	if info.Size() > tail {
		f.Seek(-tail, io.SeekEnd)
	}
	text, err := io.ReadAll(io.LimitReader(f, tail))
	if err != nil {
		s.lacking = append(s.lacking, err.Error())
	}
	s.read += int64(len(text))
	if bytes.Contains(text, s.mark) {
		s.found = append(s.found, name)
	}
}
