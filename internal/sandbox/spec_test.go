//go:build linux

package sandbox

import (
	"strings"
	"testing"
)

func TestCommandRefusesASpecThatSaysTooLittle(t *testing.T) {
	good := Spec{Path: "/bin/true", Args: []string{"true"}, Dir: "/tmp", UID: -1, GID: -1}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Spec){
		`sandbox: program "redis-server": the path must be absolute`:             func(s *Spec) { s.Path = "redis-server" },
		"sandbox: program /bin/true: no arguments, not even its own name":        func(s *Spec) { s.Args = nil },
		`sandbox: directory "run": the path must be absolute`:                    func(s *Spec) { s.Dir = "run" },
		"sandbox: identity 5:-1: uid and gid must both be given, or both be -1":  func(s *Spec) { s.UID = 5 },
		"sandbox: identity -1:5: uid and gid must both be given, or both be -1":  func(s *Spec) { s.GID = 5 },
		"sandbox: identity -2:-2: uid and gid must both be given, or both be -1": func(s *Spec) { s.UID, s.GID = -2, -2 },
		"sandbox: hand over the order: " + errOrderTooLong.Error():               func(s *Spec) { s.Args = []string{strings.Repeat("x", maxOrder)} },
	} {
		s := good
		change(&s)
		if _, err := Command(s); err == nil || err.Error() != want {
			t.Errorf("Command: %v, want %s", err, want)
		}
	}
}
