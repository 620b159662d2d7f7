// Redoubt gives a healthcare team a Redis cache that they may put patient data
// in. "redoubt --help" tells what it does.
package main

import (
	"os"

	"github.com/redoubt-cache/redoubt/internal/cli"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

func main() {
	// Does not return where this process is to become the engine, or is a part of ours.
	sandbox.Main(enroll.Role(), front.Role())
	// Every command: many see keys, passwords or values. Those that stay say in their log
	// what can't be had here.
	_ = sandbox.Ourselves()
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
