// Package cli is the command line: one file a subcommand, each of which parses,
// calls one package, and prints.
//
// Main is called by cmd/redoubt and by the tests of the command line, and does
// all but exit. A subcommand is a struct whose fields are its flags and whose
// Run does the work; the struct "program" below lists them all. Configuration
// files are mapped to each role's own options here, so that no role sees them.
//
// The rules of the surface stand in output.go: what goes to standard output,
// what to standard error, and what an exit code means.
package cli

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/units"
)

// program is every subcommand, in the order in which --help lists them.
type program struct {
	Up      upCmd      `cmd:"" help:"Run a whole deployment on this machine: engine, gateway and sidecar."`
	Gateway gatewayCmd `cmd:"" help:"Run the cache host's part: the engine and the tunnel's end before it."`
	Sidecar sidecarCmd `cmd:"" help:"Run the application host's part: a Redis on 127.0.0.1 that is the tunnel's beginning."`
	Pki     pkiCmd     `cmd:"" name:"pki" help:"The deployment's private CA and the hosts' certificates."`
	Token   tokenCmd   `cmd:"" help:"Tokens with which new hosts get their certificates."`
	Join    joinCmd    `cmd:"" help:"Give this host its identity, with a token."`
	Secret  secretCmd  `cmd:"" help:"The application's password."`
	Render  renderCmd  `cmd:"" help:"Print what a host needs, derived from the deployment's hosts."`
	Host    hostCmd    `cmd:"" help:"Make this host what the deployment asks: packet filter, ssh, kernel, swap."`
	Import  importCmd  `cmd:"" help:"Plan the way over from Redis behind stunnel, or with TLS of its own."`
	Wait    waitCmd    `cmd:"" help:"Wait until the cache answers."`
	Exec    execCmd    `cmd:"" help:"Run a command with a cache for as long as it runs."`
	Reload  reloadCmd  `cmd:"" help:"Have the gateway or sidecar of this host take in its changed configuration."`
	Log     logCmd     `cmd:"" help:"What administrators did here: who, when, what, and how it ended."`
	Status  statusCmd  `cmd:"" help:"How the processes of this host fare."`
	Explain explainCmd `cmd:"" help:"What becomes of a command here, and why; what a library needs."`
	Verify  verifyCmd  `cmd:"" help:"Prove the six goals on the live system, by attacking it."`
	Dossier dossierCmd `cmd:"" help:"The auditor's documents, from what is true."`
	Bench   benchCmd   `cmd:"" help:"Measure what the tunnel costs on this machine, beside other tunnels."`
	Version versionCmd `cmd:"" help:"Print what this is and how it was built."`

	Completion completionCmd `cmd:"" help:"Print what a shell needs to complete all of this."`
	Manual     manualCmd     `cmd:"" hidden:"" help:"Write the manual pages."`
}

const description = `A Redis cache that patient data may be put in: locked down, reached through mutually authenticated TLS, nothing on a disk.

Start with "redoubt up", which runs all of it on this machine.`

// env is what a subcommand may use of the world.
type env struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Main runs the command line and returns the exit code (output.go).
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{ctx: context.Background(), stdin: stdin, stdout: stdout, stderr: stderr}
	asked := false // for help, which kong has printed by then
	parser, err := newParser(e, func(int) { asked = true })
	if err != nil {
		return e.fail(err)
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(args[1:len(args):len(args)], "--help")
	}
	call, err := parser.Parse(args)
	if asked {
		return exitGood
	}
	if err != nil {
		at, words := commandOf(parser, args)
		if at.Leaf() && len(at.Positional) > 0 && strings.HasPrefix(err.Error(), "unknown flag") {
			err = fmt.Errorf("%w: it is written redoubt %s", err, at.Summary())
		}
		return e.fail(usage(err, words+" --help"))
	}
	return e.fail(e.run(call))
}

func newParser(e *env, exit func(int)) (*kong.Kong, error) {
	return kong.New(&program{},
		kong.Name("redoubt"), kong.Description(description),
		kong.Writers(e.stdout, e.stderr), kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Vars{"program": units.Program, "default_gateway": defaultGateway, "leaf_life": fmt.Sprintf("%d days", pki.LeafLife/(24*time.Hour))},
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)), kong.Bind(e))
}

// commandOf is the subcommand that is meant, as far as there is one: its help fits.
func commandOf(parser *kong.Kong, args []string) (at *kong.Node, words string) {
	words, at = "redoubt", parser.Model.Node
	for _, a := range args {
		i := slices.IndexFunc(at.Children, func(n *kong.Node) bool { return n.Type == kong.CommandNode && n.Name == a })
		if i < 0 {
			break
		}
		words, at = words+" "+a, at.Children[i]
	}
	return at, words
}
