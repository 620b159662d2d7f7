package lockdown

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// RecordDir holds what Undo needs.
const RecordDir = "/var/lib/redoubt-host"

const recordFile = RecordDir + "/record.json"

// lockPatience is how long a command waits for another one on the same host.
const lockPatience = 30 * time.Second

// record is what was there before.
type record struct {
	Host    string `json:"host"`
	Program string `json:"program"`
	Without []Part `json:"without,omitempty"`

	// As the first Apply found it.
	Files    []saved           `json:"files"`
	Settings map[string]string `json:"settings"` // by path
	Swaps    []string          `json:"swaps"`
	Filter   string            `json:"filter"` // the table in force; "": none

	// Unfinished: an Apply was killed, or failed, on its way.
	Unfinished bool       `json:"unfinished,omitempty"`
	Pending    *pending   `json:"pending,omitempty"`
	WentBack   *time.Time `json:"went_back,omitempty"` // when nobody confirmed
}

// pending is what goes back unless it is confirmed: as it was before, of the parts
// that can lock people out.
type pending struct {
	Deadline time.Duration `json:"deadline"` // since the host's start: a clock that nobody sets
	Boot     string        `json:"boot"`     // of which start; in another one it goes back at once
	Files    []saved       `json:"files"`
	Filter   string        `json:"filter"`
}

// left is the time to confirm; none once the deadline is past.
func (p *pending) left() time.Duration {
	if p.Boot != bootID() {
		return 0
	}
	return max(0, p.Deadline-sinceBoot())
}

// until is the deadline by the clock on the wall, as that goes now.
func (p *pending) until() time.Time {
	return time.Now().Add(p.Deadline - sinceBoot()).Round(time.Second)
}

// open locks the record and reads it; there is none on a host that was never applied.
func open() (r *record, unlock func(), err error) {
	lock, err := lockRecord()
	if err != nil {
		return nil, nil, err
	}
	if r, err = read(); err != nil {
		lock.Close()
		return nil, nil, err
	}
	return r, func() { lock.Close() }, nil
}

// lockRecord keeps all others out that change the host.
func lockRecord() (*os.File, error) {
	if err := os.MkdirAll(RecordDir, 0o700); err != nil {
		return nil, err
	}
	lock, err := statedir.Lock(filepath.Join(RecordDir, "lock"), lockPatience)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", RecordDir, err)
	}
	return lock, nil
}

// read is the record without the lock, for those that change nothing.
func read() (*record, error) {
	text, err := statedir.ReadTrusted(recordFile, 16<<20, "a record of what was there before")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w: what was there before can't be put back from it; put it back by hand, and remove it", recordFile, err)
	}
	return r, nil
}

func (r *record) write() error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return statedir.WriteFile(recordFile, text, 0o600)
}

// forget ends the record. The lock stays: others may wait for it.
func forget() error {
	if err := os.Remove(recordFile); err != nil {
		return err
	}
	return statedir.SyncDir(RecordDir)
}

// keep adds what is at a path, unless it is known from before.
func keep(list *[]saved, s saved) {
	if !slices.ContainsFunc(*list, func(have saved) bool { return have.Path == s.Path }) {
		*list = append(*list, s)
	}
}

// bootID tells one start of the host from another (random(4)).
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
