package command

import "strings"

// shortTable finds commands whose names have up to seven letters and no
// subcommands, written in one case, which is nearly every command that
// applications send, at a fifth of the cost of the table proper. It is an open
// addressed hash of the name itself as a number.
type shortTable [1 << shortBits]struct {
	key     uint64
	command *Command
}

// shortBits leaves three quarters empty.
const shortBits = 11

var shorts = buildShorts(table)

func buildShorts(table map[string]*entry) *shortTable {
	t := &shortTable{}
	for name, e := range table {
		if e.container {
			continue
		}
		for _, spelling := range []string{name, strings.ToUpper(name)} {
			if key := shortKey([]byte(spelling)); key != 0 {
				i := shortSlot(key)
				for t[i].key != 0 {
					i = (i + 1) % len(t)
				}
				t[i].key, t[i].command = key, &e.Command
			}
		}
	}
	return t
}

func (t *shortTable) find(name []byte) *Command {
	key := shortKey(name)
	if key == 0 {
		return nil
	}
	for i := shortSlot(key); t[i].key != 0; i = (i + 1) % len(t) {
		if t[i].key == key {
			return t[i].command
		}
	}
	return nil
}

// shortKey packs a name and its length, so that no two names have one key; 0 is
// a name that is too long, or empty.
func shortKey(name []byte) (key uint64) {
	if len(name) > 7 {
		return 0
	}
	for _, c := range name {
		key = key<<8 | uint64(c)
	}
	return key | uint64(len(name))<<56
}

// shortSlot is where a key is looked for first (Fibonacci hashing, Knuth 6.4).
func shortSlot(key uint64) int {
	const golden = 0x9E3779B97F4A7C15
	return int(key * golden >> (64 - shortBits))
}
