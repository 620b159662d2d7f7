//go:build slow

// Package hosts_test has whole hosts: Debian with systemd, sshd and a packet filter, on
// networks of their own. What a person would do on them is done here, what an attacker
// or an accident would do too, and the hosts are asked what became of it.
package hosts_test

import (
	"os"
	"testing"

	"github.com/aymanbagabas/go-udiff"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// differences is "" if there are none.
func differences(before, now string) string { return udiff.Unified("before", "now", before, now) }
