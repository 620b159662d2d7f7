package lockdown

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// What others do takes the packet filter away: nftables.service empties the whole
// ruleset when it is started, reloaded or stopped, and so does who says nft flush
// ruleset. So a service of ours hears of every change and loads the filter again.
const (
	// keepEvery is how often it looks though it heard of nothing.
	keepEvery = 5 * time.Second
	// keepPause is between two looks at least, while others change much.
	keepPause = 100 * time.Millisecond
	// keptStale is when its word counts no more: several looks, and what an Apply may
	// make it wait for the lock.
	keptStale = lockPatience + 3*keepEvery
	// keptPath is where it says how it stands, for processes that can't ask nft.
	keptPath = "/run/redoubt-host/filter.json"
)

// kept is what the service says. It stands in memory, and ends with the service.
type kept struct {
	Looked  time.Duration `json:"looked"` // since the host's start, asleep or not: a clock that nobody sets
	InForce bool          `json:"in_force"`
	Again   int           `json:"loaded_again"` // how often it was
	Fault   string        `json:"fault,omitempty"`
}

// Keep holds the packet filter in force that lies on the host, until the process ends.
// told hears when something took it away, or it can't be loaded.
func Keep(ctx context.Context, told func(string)) error {
	watch, err := firewall.NewWatch()
	if err != nil {
		return err
	}
	defer watch.Close()
	k := keeper{told: told}
	for {
		if err := k.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(keepPause):
		}
		if err := watch.Wait(keepEvery); err != nil {
			return err
		}
	}
}

// keeper knows the file that was loaded last, and what nft made of it.
type keeper struct {
	told        func(string)
	file, table string
	kept
}

// look loads the filter unless it is in force, and writes down how it stands.
func (k *keeper) look(ctx context.Context) error {
	if !k.whole(ctx) {
		if err := k.load(ctx); err != nil && err.Error() != k.Fault {
			k.Fault = err.Error()
			k.told(k.Fault)
		} else if err == nil {
			k.Fault = ""
		}
	}
	k.InForce, k.Looked = k.Fault == "" && k.file != "", sinceBoot()
	text, err := json.Marshal(k.kept)
	if err != nil {
		return err
	}
	return statedir.WriteFile(keptPath, append(text, '\n'), 0o644)
}

// whole says whether what lies on the host was loaded, and is still in force.
func (k *keeper) whole(ctx context.Context) bool {
	text, err := statedir.ReadFile(FilterPath, longest, "a packet filter")
	if errors.Is(err, fs.ErrNotExist) {
		k.file, k.table, k.Fault = "", "", ""
		return true // nothing is to be kept: it was taken back
	}
	if err != nil || string(text) != k.file {
		return false
	}
	table, err := firewall.Loaded(ctx)
	return err == nil && table == k.table
}

// load puts the file in force. Apply, Undo and what goes back hold the lock while file
// and table differ, so it looks once more.
func (k *keeper) load(ctx context.Context) error {
	lock, err := lockRecord()
	if err != nil {
		return err
	}
	defer lock.Close()
	if k.whole(ctx) {
		return nil
	}
	text, err := statedir.ReadFile(FilterPath, longest, "a packet filter")
	if err != nil {
		return err
	}
	again := string(text) == k.file
	table, err := firewall.LoadText(ctx, string(text))
	if err != nil {
		return fmt.Errorf("the packet filter can't be loaded: %w", err)
	}
	k.file, k.table = string(text), table
	if again {
		k.Again++
		k.told("something took the packet filter away, or changed it: it is loaded again")
	}
	return nil
}

// A Kept says how the packet filter of a host stands that Apply was used on, for those
// that can't ask the kernel.
type Kept struct {
	InForce bool
	Ago     time.Duration // when that was looked at
	Again   int           // how often it was loaded again since the host's start
	Fault   string        // why it isn't in force
}

// ErrNotKept says that Apply gave this host no packet filter.
var ErrNotKept = errors.New("redoubt host apply gave this host no packet filter")

// LookKept reads what the service says that keeps the filter. Any user may.
func LookKept() (Kept, error) {
	if _, err := os.Lstat(keeperPath); errors.Is(err, fs.ErrNotExist) {
		return Kept{}, ErrNotKept
	}
	text, err := statedir.ReadTrusted(keptPath, longest, "the packet filter's state")
	if errors.Is(err, fs.ErrNotExist) {
		return Kept{Fault: keeperUnit + " isn't running"}, nil
	}
	if err != nil {
		return Kept{}, err
	}
	var said kept
	if err := json.Unmarshal(text, &said); err != nil {
		return Kept{}, fmt.Errorf("%s: %w", keptPath, err)
	}
	k := Kept{InForce: said.InForce, Ago: sinceBoot() - said.Looked, Again: said.Again, Fault: said.Fault}
	switch {
	case k.Ago > keptStale || k.Ago < 0:
		k.InForce, k.Fault = false, fmt.Sprintf("%s has not looked for %s", keeperUnit, k.Ago.Round(time.Second))
	case !k.InForce && k.Fault == "":
		k.Fault = FilterPath + " is gone"
	}
	return k, nil
}
