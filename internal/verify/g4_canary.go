package verify

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/regular"
)

// haunts are the directories where a value would turn up, were it written: where
// engines keep their files, where logs, core dumps and crash reports go, and where
// anything may be put down.
var haunts = []string{
	"/var/tmp", "/dev/shm", "/run/redoubt", "/var/lib/redis", "/var/lib/valkey", "/var/lib/redoubt",
	"/var/log", "/run/log/journal", "/var/crash", "/var/lib/systemd/coredump", "/var/spool/abrt",
}

// Bounds of a search: what has changed since the canary was let go is little. A
// search that meets one has not finished, and says so.
const (
	maxRead      = 1 << 30     // bytes, in one look
	searchWithin = time.Minute // a busy host takes long; a quiet one is done with the last look
)

// looks are the times after the canary was let go at which it is looked for: who
// writes soon, and who gathers what he writes. The titles say the last.
var looks = []time.Duration{0, 2 * time.Second}

var canaryStaysInMemory = Check{
	ID: "RD-401", Goal: evidence.AtRest, From: OnCache,
	Title:      "A value that is written to the cache turns up in no file within two seconds",
	Why:        "It is the claim itself, tried with a value of its own: written, read back, refused in commands, and then looked for in every file that anybody has written meanwhile. Who holds it back for longer is not seen by this.",
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
	Title:      "A value that passes the sidecar turns up in no file of the application host within two seconds",
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

// letGo releases a canary and looks for it: in every file that was written since, in
// the places where values turn up, and in some more. Files that hold it on purpose,
// found at the end of each look, show that the search can see and got as far.
func letGo(ctx context.Context, t *Target, n *Notes, c *conversation, more ...string) Finding {
	ctx, cancel := context.WithTimeout(ctx, searchWithin)
	defer cancel()
	written := watchWrites()
	defer written.end()
	began := time.Now()
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
	defer control.remove()
	dirs := append(append(slices.Clone(haunts), more...), filepath.Dir(control.named.Name())) // the control's comes last
	n.Saw("looked in every file that was written meanwhile on %s", strings.Join(written.watched, ", "))
	if len(written.others) > 0 {
		n.Saw("not watched, since another machine or program has the files: %s", strings.Join(written.others, ", "))
	}
	n.Saw("looked below %s, and in what our processes have open for writing", strings.Join(dirs, ", "))
	n.Saw("looked in every file that a process of this host has mapped so that its memory is written there; not seen is one that is mapped, written and let go between the looks")
	n.Saw("a file on tmpfs is memory, and no disk")
	n.Saw("swap devices are not read: RD-402 says whether anything of ours is there")
	least := math.MaxInt
	for _, after := range looks {
		select {
		case <-time.After(time.Until(began.Add(after))):
		case <-ctx.Done():
		}
		s := search{ctx: ctx, mark: []byte(mark), seen: map[fileID]bool{}, since: began.Add(-time.Second)} // file systems keep coarser time than we do
		if err := written.catchUp(ctx); err != nil {
			s.lacking = append(s.lacking, err.Error())
		}
		written.searchIn(&s)
		for _, dir := range dirs {
			s.walk(dir)
		}
		for _, p := range append(t.ours(ctx), process{"verification", os.Getpid()}) {
			s.openIn(p)
		}
		s.mapped()
		n.Saw("after %s: files that were written since, and read: %d, %d KB; processes that even root may not look into: %d", time.Since(began).Round(100*time.Millisecond), len(s.seen), s.read>>10, s.closed)
		found, controlled := s.foundBut(control)
		if len(found) > 0 {
			n.Saw("found in %s", strings.Join(found, ", "))
			return n.Fail("it is in %s", found[0])
		}
		for _, lacking := range s.lacking {
			n.Saw("not read: %s", lacking)
		}
		if err := ctx.Err(); err != nil {
			return n.Skip("the search was not at its end after %s: nothing found so far means nothing", searchWithin)
		}
		if len(s.lacking) > 0 {
			return n.Skip("the search could not read everything: %s", s.lacking[0])
		}
		if controlled != controls {
			return n.Fail("the search is blind: it found %d of %d files that held the value on purpose", controlled, controls)
		}
		n.Saw("the controls were found: a file of ours, and one without a name, which held the value on purpose")
		least = min(least, len(s.seen)-controls)
	}
	return n.Pass("looked for twice, it is in none of %d files that were written since", least)
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

// A control is what the search must find.
type control struct {
	named   *os.File // a file, whose name sorts after all others in its directory
	unnamed *os.File // and one that has no name any more
}

// controls is how many files that are.
const controls = 2

func plant(mark string) (c control, err error) {
	if c.named, err = os.CreateTemp("", "~~redoubt-verify-"); err == nil {
		_, err = c.named.WriteString(mark)
	}
	if err == nil {
		c.unnamed, err = os.CreateTemp("", "redoubt-verify-")
	}
	if err == nil {
		_, err = c.unnamed.WriteString(mark)
	}
	if err == nil {
		err = os.Remove(c.unnamed.Name())
	}
	if err != nil {
		c.remove()
	}
	return c, err
}

func (c control) remove() {
	for _, f := range []*os.File{c.named, c.unnamed} {
		if f != nil {
			os.Remove(f.Name())
			f.Close()
		}
	}
}

// search looks for a mark in files that have changed since a moment.
type search struct {
	ctx   context.Context
	mark  []byte
	since time.Time

	seen    map[fileID]bool
	read    int64
	found   []string // the names of files that hold the mark
	lacking []string // what could not be read, and so may hold it
	closed  int      // processes whose mappings even root may not see
}

// fileID is what a file is known by: containers' files may have the same name.
type fileID struct{ device, inode uint64 }

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), st.Ino}
}

// nameOf is where an open file lies, as the kernel tells it.
func nameOf(f *os.File) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return f.Name()
	}
	return name
}

// foundBut are the files that hold the mark and should not, and how many of the controls
// do. On an overlay a control is seen as two files, of one name: the overlay's, and the
// one below it.
func (s *search) foundBut(c control) (names []string, controlled int) {
	names = slices.Sorted(slices.Values(s.found))
	for _, f := range []*os.File{c.named, c.unnamed} {
		before, name := len(names), nameOf(f)
		names = slices.DeleteFunc(names, func(found string) bool { return found == name })
		if len(names) < before {
			controlled++
		}
	}
	return names, controlled
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
				s.look(path, regular.OpenItself)
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
			s.look(p.path("fd", d.number), regular.Open)
		}
	}
}

// mapped looks into the files that any process has mapped so that its memory is written
// to them (mmap(2)), of which no watch tells.
func (s *search) mapped() {
	list, err := processes()
	if err != nil {
		s.lacking = append(s.lacking, err.Error())
		return
	}
	for _, p := range list {
		mappings, err := p.sharedWritable()
		switch {
		case errors.Is(err, fs.ErrPermission): // of another user namespace, as what runs a container
			s.closed++
		case err != nil && !gone(err):
			s.lacking = append(s.lacking, err.Error())
		}
		for _, m := range mappings {
			if s.ctx.Err() == nil && !m.inMemory() {
				s.look(p.path("map_files", m.at), regular.Open)
			}
		}
	}
}

// gone says whether a process has ended while it was looked at.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// look reads a file, if it is one. What it was when it was found says nothing of what it
// is when it is opened: whoever can write there may have put something else in its place,
// and a process another file behind the same number. So it is named by what was opened.
func (s *search) look(path string, open func(path string) (*os.File, fs.FileInfo, error)) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || s.seen[idOf(info)] {
		return
	}
	f, info, err := open(path)
	if errors.Is(err, fs.ErrNotExist) { // it has gone
		return
	}
	if err != nil {
		s.lacking = append(s.lacking, err.Error())
		return
	}
	defer f.Close()
	name := nameOf(f)
	s.seen[idOf(info)] = true
	found, err := s.holds(f)
	if err != nil {
		s.lacking = append(s.lacking, fmt.Sprintf("%s: %v", name, err))
	}
	if found {
		s.found = append(s.found, name)
	}
}

// holds reads a file to its end, or until it meets a bound.
func (s *search) holds(f io.Reader) (bool, error) {
	window := make([]byte, 0, 1<<20)
	for {
		n, err := f.Read(window[len(window):cap(window)])
		s.read += int64(n)
		window = window[:len(window)+n]
		if bytes.Contains(window, s.mark) {
			return true, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case s.read > maxRead:
			return false, fmt.Errorf("more than %d MB had been read", maxRead>>20)
		case s.ctx.Err() != nil:
			return false, errors.New("the time was up")
		}
		// The mark may lie across two pieces.
		tail := window[max(0, len(window)-len(s.mark)+1):]
		window = window[:copy(window[:cap(window)], tail)]
	}
}
