package trail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Chain is what a reading found.
type Chain struct {
	Records uint64   // how many there are
	First   uint64   // number of the first
	Last    uint64   // and of the last
	Hash    string   // SHA-256 of the last one's line: who has noted it knows this log again
	Torn    int64    // bytes at the end that a crash left of a record; the next command mends it
	Faults  []string // where it was cut or changed; none: it holds
}

// maxFaults bounds what is said of a log that is broken throughout.
const maxFaults = 20

func (c *Chain) fault(format string, args ...any) {
	switch {
	case len(c.Faults) < maxFaults:
		c.Faults = append(c.Faults, fmt.Sprintf(format, args...))
	case len(c.Faults) == maxFaults:
		c.Faults = append(c.Faults, "… and more")
	}
}

// Read shows each record with its line, in the order in which they were made, and says
// whether the chain holds. An error is each's own, or that of a log which can't be read.
// Of a log that isn't there it finds no records. It holds one record in memory.
func (l *Log) Read(each func(r *Record, line []byte) error) (*Chain, error) {
	r := &reading{chain: new(Chain), each: each}
	files, err := r.snapshot(l)
	if errors.Is(err, fs.ErrNotExist) {
		return r.chain, nil
	}
	for i := 0; err == nil && i < len(files); i++ {
		r.last = i == len(files)-1
		err = r.file(l.path(files[i].name))
	}
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	r.judgeEnds(l.path(headFile))
	return r.chain, nil
}

type reading struct {
	chain   *Chain
	each    func(*Record, []byte) error
	head    place  // as the log's own file has it
	size    int64  // of the last file when the reading began
	last    bool   // the last file is read
	at      place  // the record that was read
	dropped uint64 // up to which a record says that the records before were dropped
}

// snapshot is what there is now; what is appended while it is read isn't looked at,
// since nobody shall wait for a reader.
func (r *reading) snapshot(l *Log) ([]segment, error) {
	if _, err := os.Lstat(l.dir); err != nil {
		return nil, err
	}
	release, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	if r.head, err = l.head(); err != nil {
		r.chain.fault("%v", err)
	}
	files, err := l.files()
	if err != nil || len(files) == 0 {
		return nil, err
	}
	info, err := os.Stat(l.path(files[len(files)-1].name))
	if err != nil {
		return nil, err
	}
	r.size = info.Size()
	return files, nil
}

func (r *reading) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var from io.Reader = f
	if r.last {
		from = io.LimitReader(f, r.size)
	}
	lines := bufio.NewReaderSize(from, maxLine)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			err = r.line(line, path, number)
		case errors.Is(err, bufio.ErrBufferFull):
			r.chain.fault("%s: line %d is too long to be a record", path, number)
			err = skipLine(lines)
		case errors.Is(err, io.EOF) && len(line) > 0 && r.last:
			r.chain.Torn = int64(len(line))
		case errors.Is(err, io.EOF) && len(line) > 0:
			r.chain.fault("%s: its end is gone", path)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func skipLine(lines *bufio.Reader) error {
	for {
		if _, err := lines.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// line takes a record and holds it against the one before.
func (r *reading) line(line []byte, path string, number int) error {
	got, err := parse(line)
	if err != nil {
		r.chain.fault("%s: line %d is %v", path, number, err)
		return nil
	}
	switch before := r.at.n; {
	case r.chain.Records == 0:
		r.chain.First = got.N
		if got.N == 1 && got.Prev != "" {
			r.chain.fault("record 1 is not the first of its chain")
		}
	case got.N <= before:
		r.chain.fault("record %d stands behind record %d", got.N, before)
	case got.N > before+1:
		r.chain.fault("%s missing", numbers(before+1, got.N-1))
	case got.Prev != r.at.hash:
		r.chain.fault("record %d was changed: the one behind it was made for another", before)
	}
	r.chain.Records++
	r.at, r.dropped = placeOf(got, line), max(r.dropped, got.Dropped)
	if got.N == r.head.n && r.at != r.head {
		r.chain.fault("record %d was changed: it is not the one that was noted as the newest", got.N)
	}
	return r.each(got, line)
}

func numbers(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("record %d is", from)
	}
	return fmt.Sprintf("records %d to %d are", from, to)
}

// judgeEnds looks for what was cut off at the beginning or the end.
func (r *reading) judgeEnds(head string) {
	c := r.chain
	c.Last, c.Hash = r.at.n, r.at.hash
	if c.First > r.dropped+1 {
		c.fault("%s missing at its beginning", numbers(r.dropped+1, c.First-1))
	}
	switch {
	case r.head.n > c.Last:
		c.fault("%s missing at its end", numbers(c.Last+1, r.head.n))
	case r.head.n == 0 && c.Records > 0 && len(c.Faults) == 0:
		c.fault("%s is gone: whether its end is missing can't be told", head)
	}
}
