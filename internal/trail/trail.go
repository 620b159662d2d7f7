// Package trail is a log that tells when it was cut or changed: the record of what
// administrators did, and of who had access.
//
// The command line appends two records for each command that changes trust or
// state, one before and one after it (internal/cli/recorded.go); "redoubt log" and
// RD-603 read them. The CA appends what its ledger forgets (package pki); "redoubt pki
// list --all" and RD-602 read that. A trail is a directory, beside the CA's ledger for
// instance:
//
//	000000000001.jsonl  records, one line of JSON each; the number is the first one's
//	head                number and SHA-256 of the newest record
//	lock                held while something is appended
//
// Each record has its number, one more than the one before, and the SHA-256 of that
// one's line. It guarantees:
//   - What Append has returned from is on the disk (write, fsync), and no process's
//     record is lost or parted by another's (flock, as for the ledger).
//   - What a crash left of a record is cut off by the next Append, whose record says
//     of how many bytes (torn). Until then the readers say so; it is no fault.
//   - A line that was changed, moved, taken out or put in breaks the chain; a cut at
//     the end contradicts head. Append goes on from head, so that what is missing stays
//     missing in the numbers, and never mends it unseen.
//   - A file holds at most 4 MB, a record 16 KB. When a file is begun, the oldest is
//     dropped if all in it is older than six years, and the first record of the new one
//     says up to which number (dropped): one file at a time, so that a clock that was
//     wrong for a while costs little.
//
// It never holds a secret: who appends sees to that. Whoever may write in the
// directory can make a whole chain anew, and head with it.
//
// The tests cut and change files at every place, and let processes append at once
// and die in the middle.
package trail

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

const (
	// Kept is for how long records are kept: 45 CFR 164.316(b)(2)(i).
	Kept = 6 * 366 * 24 * time.Hour

	maxSegment = 4 << 20
	maxLine    = 16 << 10
	// lockPatience is how long one process waits for another, which takes
	// milliseconds.
	lockPatience = 10 * time.Second

	headFile = "head"
	lockFile = "lock"
	suffix   = ".jsonl"
)

// Name is the directory of a trail beside what it tells of.
const Name = "log"

// A Record is a line.
type Record struct {
	N       uint64    `json:"n"`
	Time    time.Time `json:"time"` // UTC, by this host's clock, which may have been set
	Who     *Who      `json:"who,omitempty"`
	Command string    `json:"command,omitempty"` // as "pki revoke"
	Args    []string  `json:"args,omitempty"`    // its arguments, but for secrets
	Outcome Outcome   `json:"outcome,omitempty"`
	Exit    int       `json:"exit,omitempty"`    // exit code
	Of      uint64    `json:"of,omitempty"`      // the record of its beginning
	Ledger  string    `json:"ledger,omitempty"`  // or a line that a CA's ledger has forgotten
	Torn    int64     `json:"torn,omitempty"`    // bytes of a record before this one that a crash cut
	Dropped uint64    `json:"dropped,omitempty"` // records up to this one were dropped, older than Kept
	Prev    string    `json:"prev"`              // SHA-256 of the line before, hex; "" of the first
}

// Outcome is how far a command has come.
type Outcome string

// The outcomes.
const (
	Began  Outcome = "began"
	Done   Outcome = "ok"
	Failed Outcome = "failed"
)

// encode is the one way to write a record, with the line's end.
func (r *Record) encode() ([]byte, error) {
	line, err := json.Marshal(r)
	if err == nil && len(line) >= maxLine {
		err = fmt.Errorf("a record of %d bytes is too long", len(line))
	}
	return append(line, '\n'), err
}

var errNoRecord = errors.New("not a record of ours")

// parse reads what encode wrote, and nothing else.
func parse(line []byte) (*Record, error) {
	r := new(Record)
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(r) != nil || r.N == 0 {
		return nil, errNoRecord
	}
	if again, err := r.encode(); err != nil || !bytes.Equal(again, line) {
		return nil, errNoRecord
	}
	return r, nil
}

// place is where a chain is: a record's number and the SHA-256 of its line.
type place struct {
	n    uint64
	hash string
}

func placeOf(r *Record, line []byte) place {
	sum := sha256.Sum256(line)
	return place{r.N, hex.EncodeToString(sum[:])}
}

// Log is a trail in a directory.
type Log struct {
	dir string
	max int64 // of a file; tests have a smaller one
	now func() time.Time
}

// Open names it, and touches nothing.
func Open(dir string) *Log { return &Log{dir, maxSegment, time.Now} }

// Beside is the trail of a directory's.
func Beside(dir string) *Log { return Open(filepath.Join(dir, Name)) }

// Exists tells whether there is one.
func (l *Log) Exists() bool {
	_, err := os.Lstat(l.dir)
	return err == nil
}

// Append puts records behind the others, once they are on the disk, and returns the
// last one's number. N, Time, Torn, Dropped and Prev are filled in here.
func (l *Log) Append(records ...Record) (n uint64, err error) {
	if err := l.make(); err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	release, err := l.lock()
	if err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	defer release()
	if n, err = l.append(records); err != nil {
		return 0, fmt.Errorf("log: %s: %w", l.dir, err)
	}
	return n, nil
}

// make makes the directory. Root leaves what it makes in another user's directory to
// that user, who appends too.
func (l *Log) make() error {
	if err := os.Mkdir(l.dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return statedir.LeaveToOwner(filepath.Dir(l.dir), func(uid, gid int) error { return os.Lchown(l.dir, uid, gid) })
}

func (l *Log) lock() (release func() error, err error) {
	lock, err := statedir.Lock(l.path(lockFile), lockPatience)
	if errors.Is(err, statedir.ErrInUse) {
		return nil, fmt.Errorf("%s: %w, for %s now", l.dir, err, lockPatience)
	}
	if err == nil {
		err = statedir.LeaveToOwner(l.dir, lock.Chown)
	}
	if err != nil {
		return nil, err
	}
	return lock.Close, nil
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

// append is Append, under the lock.
func (l *Log) append(records []Record) (uint64, error) {
	files, err := l.files()
	if err != nil {
		return 0, err
	}
	end, err := l.ending(files)
	if err != nil || len(records) == 0 {
		return end.at.n, err
	}
	now, first := l.now().UTC().Truncate(time.Second), &records[0]
	first.Torn = end.torn
	var old []segment
	if end.name == "" || end.size > l.max {
		if end.torn > 0 {
			if err := os.Truncate(l.path(end.name), end.size); err != nil {
				return 0, err
			}
		}
		end.name, end.size = fmt.Sprintf("%012d%s", end.at.n+1, suffix), 0
		if old = l.past(files, now); len(old) > 0 {
			first.Dropped = files[len(old)].first - 1
		}
	}
	var text []byte
	for i := range records {
		r := &records[i]
		r.N, r.Time, r.Prev = end.at.n+1, now, end.at.hash
		line, err := r.encode()
		if err != nil {
			return 0, err
		}
		text, end.at = append(text, line...), placeOf(r, line)
	}
	if err := l.write(end.name, end.size, text); err != nil {
		return 0, err
	}
	if err := l.note(end.at); err != nil {
		return 0, err
	}
	for _, file := range old {
		if err := os.Remove(l.path(file.name)); err != nil {
			return 0, err
		}
	}
	return end.at.n, nil
}

// write puts lines at the end of a file, which is cut there first: behind it is what
// a crash left.
func (l *Log) write(name string, at int64, lines []byte) error {
	f, err := os.OpenFile(l.path(name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(at); err != nil {
		return err
	}
	if _, err := f.WriteAt(lines, at); err != nil {
		return errors.Join(err, f.Truncate(at))
	}
	if err := errors.Join(statedir.LeaveToOwner(l.dir, f.Chown), f.Sync()); err != nil {
		return err
	}
	if at > 0 {
		return nil
	}
	return statedir.SyncDir(l.dir)
}

// segment is a file of records.
type segment struct {
	name  string
	first uint64 // number of its first record, by its name
}

// files are those of records, the oldest first.
func (l *Log) files() (list []segment, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), suffix)
		if first, err := strconv.ParseUint(number, 10, 63); ok && err == nil && len(number) == 12 && first > 0 {
			list = append(list, segment{e.Name(), first})
		}
	}
	slices.SortFunc(list, func(a, b segment) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// head is what the newest record was, by its own file; zero without one.
func (l *Log) head() (p place, err error) {
	text, err := statedir.ReadFile(l.path(headFile), 200, "log's head")
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	number, hash, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), " ")
	p.hash = hash
	sum, _ := hex.DecodeString(hash)
	if p.n, err = strconv.ParseUint(number, 10, 63); err != nil || p.n == 0 || len(sum) != sha256.Size || string(text) != fmt.Sprintf("%d %x\n", p.n, sum) {
		return place{}, damaged(l.path(headFile))
	}
	return p, nil
}

// note makes a record the newest.
func (l *Log) note(p place) error {
	return statedir.WriteFileForOwner(l.path(headFile), fmt.Appendf(nil, "%d %s\n", p.n, p.hash), 0o600)
}

// ending is where a chain goes on.
type ending struct {
	at   place
	name string // of the last file; "": there is none
	size int64  // of it, up to the end of its last whole line
	torn int64  // what is behind that
}

// ending finds the last record. What head knows and the files don't was cut off; what
// follows from it and head doesn't know came just before a crash, as did a file without a
// whole line. It is noted before more follows, so that it is of one writing.
func (l *Log) ending(files []segment) (e ending, err error) {
	if e.at, err = l.head(); err != nil {
		return e, err
	}
	for i, file := range slices.Backward(files) {
		line, size, torn, err := lastLine(l.path(file.name))
		if err != nil {
			return e, err
		}
		if i == len(files)-1 {
			e.name, e.size, e.torn = file.name, size, torn
		}
		if len(line) == 0 {
			continue
		}
		r, err := parse(line)
		if err != nil && e.at.n == 0 {
			return e, damaged(l.path(file.name))
		}
		switch {
		case err == nil && e.at.n == 0:
			e.at = placeOf(r, line)
		case err == nil && r.N > e.at.n:
			if e.at, err = follow(l.path(file.name), e.at); err != nil {
				return e, err
			}
		default:
			return e, nil
		}
		return e, l.note(e.at)
	}
	return e, nil
}

// follow goes from a record to the last one that follows from it in a file.
func follow(path string, at place) (place, error) {
	f, err := os.Open(path)
	if err != nil {
		return at, err
	}
	defer f.Close()
	for lines := bufio.NewReaderSize(f, maxLine); ; {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if r, bad := parse(line); bad == nil && r.N == at.n+1 && r.Prev == at.hash {
			at = placeOf(r, line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return at, err
		}
	}
}

func damaged(path string) error {
	return fmt.Errorf("%s is damaged: find out who changed it. Keep the directory as it is, under another name; then the next command begins a new log", path)
}

// lastLine is the last whole one of a file, how many bytes there are with it, and how
// many behind it.
func lastLine(path string) (line []byte, size, torn int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	from := max(0, info.Size()-2*maxLine)
	tail := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(tail, from); err != nil {
		return nil, 0, 0, err
	}
	whole := bytes.LastIndexByte(tail, '\n') + 1
	if whole > 0 {
		line = tail[bytes.LastIndexByte(tail[:whole-1], '\n')+1 : whole]
	}
	if whole == 0 && from > 0 {
		return nil, 0, 0, damaged(path)
	}
	return line, from + int64(whole), int64(len(tail) - whole), nil
}

// past is the oldest file, if all in it is older than Kept: the next one's first record
// is. One that is damaged stays; the readers say so.
func (l *Log) past(files []segment, now time.Time) []segment {
	if len(files) < 2 {
		return nil
	}
	f, err := os.Open(l.path(files[1].name))
	if err != nil {
		return nil
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(f, maxLine).ReadSlice('\n')
	if err != nil {
		return nil
	}
	if r, err := parse(line); err != nil || now.Sub(r.Time) <= Kept {
		return nil
	}
	return files[:1]
}
