package firewall

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// nftWithin bounds an answer of nft.
const nftWithin = 10 * time.Second

// ErrNoTable says that the kernel has no table of ours.
var ErrNoTable = errors.New("no table inet redoubt is loaded")

// ReadBack lists the table that is in force, and the one that the rules make, both as
// nft writes them: the second is loaded into a network namespace that ends with the
// question. Counters and addresses that the kernel remembers for a minute are left out.
func (r Rules) ReadBack(ctx context.Context) (have, want []string, err error) {
	const list = "nft --stateless list table inet redoubt"
	text, err := nft(ctx, "", list, false)
	if err != nil {
		if strings.Contains(err.Error(), "No such file or directory") {
			err = ErrNoTable
		}
		return nil, nil, err
	}
	made, err := nft(ctx, r.Nftables(), "nft -f - && "+list, true)
	if err != nil {
		return nil, nil, err
	}
	return significant(text), significant(made), nil
}

// Loaded is the table in force, as text that Restore takes; "" if there is none.
func Loaded(ctx context.Context) (string, error) {
	text, err := nft(ctx, "", "nft --stateless list table inet redoubt", false)
	if err != nil && strings.Contains(err.Error(), "No such file or directory") {
		return "", nil
	}
	return remembered.ReplaceAllString(text, "$1"), err
}

// Check has nft read the rules, and loads nothing.
func (r Rules) Check(ctx context.Context) error {
	_, err := nft(ctx, r.Nftables(), "nft --check -f -", false)
	return err
}

// Load puts the rules in force, in place of those that an earlier Load made, all at
// once.
func (r Rules) Load(ctx context.Context) error {
	_, err := nft(ctx, r.Nftables(), "nft -f -", false)
	return err
}

// ErrMeanwhile says that others changed the kernel's packet filters each time that ours
// were loaded.
var ErrMeanwhile = errors.New("something else changes the kernel's packet filters at the same time")

// loadTries is how often LoadText tries before it says ErrMeanwhile.
const loadTries = 5

// LoadText puts rules in force that Nftables wrote, and returns the table that they make,
// as Loaded does: what is read back is that only if nobody changed anything in between.
func LoadText(ctx context.Context, text string) (table string, err error) {
	for range loadTries {
		before, err := generation()
		if err != nil {
			return "", err
		}
		if _, err := nft(ctx, text, "nft -f -", false); err != nil {
			return "", err
		}
		if table, err = Loaded(ctx); err != nil {
			return "", err
		}
		after, err := generation()
		if err != nil {
			return "", err
		}
		if after == before+1 {
			return table, nil
		}
	}
	return "", ErrMeanwhile
}

// Restore puts a table in force that Loaded returned, or none.
func Restore(ctx context.Context, table string) error {
	_, err := nft(ctx, "table inet redoubt\ndelete table inet redoubt\n"+table, "nft -f -", false)
	return err
}

func nft(ctx context.Context, input, script string, apart bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nftWithin)
	defer cancel()
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &complaint
	if apart {
		cmd.SysProcAttr = inNetworkOfItsOwn()
	}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}

// remembered are the elements of a set that the rules fill themselves.
var remembered = regexp.MustCompile(`(?s)(set busy[46] \{[^}]*?)\n\t\telements = \{.*?\}`)

// significant is the lines of a table without what changes by itself.
func significant(table string) (lines []string) {
	for line := range strings.Lines(remembered.ReplaceAllString(table, "$1")) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
