package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// The lines are what the packages of Debian 11, 12, 13 and testing print.
func TestVersionsAreReadAsPrinted(t *testing.T) {
	for line, want := range map[string]string{
		"Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=6d95e1af3a2c082a":  "redis 6.0.16",
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0":   "redis 7.0.15",
		"Redis server v=8.0.2 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=b843bbd074c0e1da":   "redis 8.0.2",
		"Redis server v=8.0.6 sha=00000000:0 malloc=jemalloc-5.3.1 bits=64 build=4ff5c8d39231b5d1":   "redis 8.0.6",
		"Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=39f7c371e0a96e3d":  "valkey 8.0.1",
		"Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=384b3c0d511f998a":  "valkey 8.1.1",
		"Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.1 bits=64 build=9108e8f1788612b\n": "valkey 9.1.2",
	} {
		v, err := parseVersion(line)
		if err != nil || v.String() != want {
			t.Errorf("%q: %v, %v; want %s", line, v, err, want)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add("Redis server v=7.0.15 sha=00000000:0")
	f.Add("Redis server v=7.0")
	f.Add("Redis server v=99999999999999999999.0.0 ")
	f.Add("redis-cli 7.0.15")
	f.Add("Valkey server v=8.1.1-rc1 sha=0")
	f.Fuzz(func(t *testing.T, line string) {
		v, err := parseVersion(line)
		if err != nil {
			return
		}
		again, err := parseVersion(strings.ToUpper(v.Product[:1]) + v.Product[1:] + " server v=" + strings.Fields(v.String())[1])
		if err != nil || again != v {
			t.Errorf("%q: %v, read again: %v, %v", line, v, again, err)
		}
	})
}

// script is a program that prints what an engine's --version would.
func script(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnfitEnginesAreTheEnvironmentsFault(t *testing.T) {
	for _, tt := range []struct{ binary, want string }{
		{script(t, "redis-server", "echo Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1"),
			"engine: redis-server 6.0.16 at PATH is too old: 7.0 or later is needed (apt-get install redis-server, or set engine.binary)"},
		{script(t, "not-an-engine", "echo hello"), "is not that of a Redis or Valkey server"},
		{script(t, "broken", "exit 9"), "exit status 9"},
		{"/nowhere/redis-server", "/nowhere/redis-server"},
	} {
		_, err := New(Options{Binary: tt.binary, Passwords: good("x")})
		if !errors.Is(err, ErrEnvironment) || !strings.Contains(err.Error(), strings.ReplaceAll(tt.want, "PATH", tt.binary)) {
			t.Errorf("%s: error %v, want the environment's with %q", tt.binary, err, tt.want)
		}
	}
}

func TestMissingEngineSaysWhatToInstall(t *testing.T) {
	if _, _, err := firstFit(nil); !errors.Is(err, ErrEnvironment) || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("error %v, want the environment's that says what to install", err)
	}
}

func TestAWrongPolicyIsNotTheEnvironmentsFault(t *testing.T) {
	_, err := New(Options{Passwords: good("x"), Policy: Policy{Uses: []Use{"chache"}}})
	if err == nil || errors.Is(err, ErrEnvironment) {
		t.Errorf("error %v, want one that is not the environment's", err)
	}
	for _, bad := range []func() []passwords.Digest{nil, good()} {
		if _, err := New(Options{Passwords: bad}); err == nil || errors.Is(err, ErrEnvironment) {
			t.Errorf("no password: error %v, want one that is not the environment's", err)
		}
	}
}
