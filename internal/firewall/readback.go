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
