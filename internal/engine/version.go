package engine

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The two products that we run.
const (
	productRedis  = "redis"
	productValkey = "valkey"
)

// Version says which engine this is.
type Version struct {
	Product             string // "redis" or "valkey"
	Major, Minor, Patch int
}

// String gives the version as people write it: "redis 7.0.15".
func (v Version) String() string {
	return fmt.Sprintf("%s %d.%d.%d", v.Product, v.Major, v.Minor, v.Patch)
}

// A release is major, minor, patch, in the order in which they compare.
type release [3]int

// The oldest engine that we run: ACLs on subcommands, enable-debug-command and
// its kin, and shutdown-on-sigterm came with 7.0.
var oldest = release{7, 0, 0}

func (v Version) release() release { return release{v.Major, v.Minor, v.Patch} }

func (r release) before(other release) bool {
	for i := range r {
		if r[i] != other[i] {
			return r[i] < other[i]
		}
	}
	return false
}

// versionLine is what `redis-server --version` prints (server.c, version()):
// "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=…".
var versionLine = regexp.MustCompile(`^(Redis|Valkey) server v=(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\s|$)`)

// parseVersion reads the first line of `--version`.
func parseVersion(output string) (Version, error) {
	m := versionLine.FindStringSubmatch(output)
	if m == nil {
		return Version{}, fmt.Errorf("its --version is not that of a Redis or Valkey server")
	}
	v := Version{Product: productRedis}
	if m[1] == "Valkey" {
		v.Product = productValkey
	}
	for i, field := range []*int{&v.Major, &v.Minor, &v.Patch} {
		n, err := strconv.Atoi(m[2+i])
		if err != nil {
			return Version{}, fmt.Errorf("its version is not a number: %w", err)
		}
		*field = n
	}
	return v, nil
}

// An applies says for which engines a directive or a rule is rendered: one
// that the engine does not know is fatal to it at start.
type applies func(Version) bool

func always(Version) bool { return true }

// since is true from the given releases on; nil for a product that never had it.
func since(redis, valkey *release) applies {
	return func(v Version) bool {
		first := redis
		if v.Product == productValkey {
			first = valkey
		}
		return first != nil && !v.release().before(*first)
	}
}

// between is true for one product's releases from first on, before mended.
func between(product string, first, mended release) applies {
	return func(v Version) bool {
		return v.Product == product && !v.release().before(first) && v.release().before(mended)
	}
}

func at(major, minor int) *release { return &release{major, minor, 0} }

// VersionFromInfo reads INFO's text: of Valkey, which also names the Redis that it
// is compatible with, and of Redis.
func VersionFromInfo(text string) (Version, error) {
	fields, _ := readInfo(text)
	for _, product := range []string{"Valkey", "Redis"} {
		if number := fields[strings.ToLower(product)+"_version"]; number != "" {
			return parseVersion(product + " server v=" + number)
		}
	}
	return Version{}, errors.New("INFO names no version")
}
