package config

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Network is a CIDR.
type Network struct{ netip.Prefix }

func (n *Network) set(text string) (string, bool) {
	p, err := netip.ParsePrefix(text)
	n.Prefix = p.Masked()
	return "a network: 10.77.0.0/24, or 10.77.0.3/32 for one host", err == nil
}

// Size is a number of bytes, written as in redis.conf: 512mb, 1gb (powers of
// 1024; redis.conf, "Note on units").
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{
	{"tb", 1 << 40}, {"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"b", 1}, {"", 1},
}

func (s *Size) set(text string) (string, bool) {
	const want = "a size: 64mb, 1gb, or a number of bytes"
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(strings.ToLower(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.factor {
			return want, false
		}
		*s = Size(n * u.factor)
		return want, true
	}
	return want, false
}

// UnmarshalText reads a size from the command line.
func (s *Size) UnmarshalText(text []byte) error {
	if want, ok := s.set(string(text)); !ok {
		return fmt.Errorf("%q must be %s", text, want)
	}
	return nil
}

// String writes the size with the largest unit that loses nothing.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return "0b"
}

// Duration is a time.Duration as a configuration file has it: 500ms, 5s, 168h.
type Duration time.Duration

func (d *Duration) set(text string) (string, bool) {
	v, err := time.ParseDuration(text)
	*d = Duration(v)
	return "a duration: 500ms, 5s, 10m or 168h", err == nil && v >= 0
}

func (d Duration) String() string { return time.Duration(d).String() }

// File is a path: absolute, relative to the configuration file, or
// "credential:NAME" for a systemd credential (systemd.exec(5), LoadCredential=).
type File string

const credentialPrefix = "credential:"

// Resolve says where the file is; relative ones are so to dir.
func (f File) Resolve(dir string) (string, error) {
	if name, ok := strings.CutPrefix(string(f), credentialPrefix); ok {
		base := os.Getenv("CREDENTIALS_DIRECTORY")
		if base == "" {
			return "", fmt.Errorf("is a systemd credential, but there are none here: LoadCredential=%s:PATH is missing in the unit, or systemd didn't start us", name)
		}
		if name != filepath.Base(name) || name == ".." || name == "." {
			return "", fmt.Errorf("is a systemd credential whose name has a slash")
		}
		return filepath.Join(base, name), nil
	}
	if filepath.IsAbs(string(f)) {
		return filepath.Clean(string(f)), nil
	}
	return filepath.Join(dir, string(f)), nil
}
