package arch_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

type source struct{ path, text string }

type rule struct {
	name, why string
	check     func(*file) []string
	broken    source // must be refused
}

var rules = []rule{
	{"imports go downward", "docs/architecture.md: a room that imports upward or sideways can't be read or tested alone", importsDownward,
		source{"internal/gateway/x.go", "package gateway\nimport _ \"github.com/redoubt-cache/redoubt/internal/resp\"\n"}},
	{"values import only the standard library", "resp, command and identity are what everything else trusts", valuesPure,
		source{"internal/resp/x.go", "package resp\nimport _ \"golang.org/x/sys/unix\"\n"}},
	{"one place builds a tls.Config", "the TLS policy (docs/decisions) holds only if nobody makes another; verify attacks with weaker ones", only("crypto/tls", "Config", true, "internal/tunnel", "internal/verify"),
		source{"internal/sidecar/x.go", "package sidecar\nimport \"crypto/tls\"\nvar c = &tls.Config{}\n"}},
	{"VerifyPeerCertificate is not used", "it isn't called on a resumed session, so access control in it can be skipped: use VerifyConnection", noField("VerifyPeerCertificate"),
		source{"internal/tunnel/x.go", "package tunnel\nimport \"crypto/tls\"\nvar c = tls.Config{VerifyPeerCertificate: nil}\n"}},
	{"KeyLogWriter is not used", "it writes the session keys to wherever it points", noField("KeyLogWriter"),
		source{"internal/tunnel/x.go", "package tunnel\nimport \"crypto/tls\"\nvar c = tls.Config{KeyLogWriter: nil}\n"}},
	{"nothing sleeps", "a sleep hides the event that should be waited for", noSleep,
		source{"internal/engine/x.go", "package engine\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"}},
	{"one os.Exit", "deferred clean-up is skipped by it: return the exit code", only("os", "Exit", false, "cmd/redoubt", "internal/sandbox"),
		source{"internal/cli/x.go", "package cli\nimport \"os\"\nfunc f() { os.Exit(1) }\n"}},
	{"one signal.Notify", "package daemon owns the life of the process", only("os/signal", "Notify", false, "internal/daemon"),
		source{"internal/gateway/x.go", "package gateway\nimport \"os/signal\"\nfunc f() { signal.Notify(nil) }\n"}},
	{"programs are started in few places", "each is a way out of the process that a reviewer must know", only("os/exec", "", false, "internal/sandbox", "internal/part", "internal/engine", "internal/cli", "internal/bench", "internal/host", "internal/firewall", "internal/lockdown"),
		source{"internal/sidecar/x.go", "package sidecar\nimport _ \"os/exec\"\n"}},
	{"only the command line prints", "packages return values and errors, or log", onlyCLIPrints,
		source{"internal/engine/x.go", "package engine\nimport \"fmt\"\nfunc f() { fmt.Println() }\n"}},
	{"no init", "what happens at start is in main, where one sees it", noInit,
		source{"internal/engine/x.go", "package engine\nfunc init() {}\n"}},
	{"no weak randomness", "math/rand can be guessed: only for jitter and the choice of a uid", noWeakRandomness,
		source{"internal/pki/x.go", "package pki\nimport _ \"math/rand/v2\"\n"}},
	{"functions fit a screen", "no function of the product over 100 lines", shortFunctions,
		source{"internal/engine/x.go", "package engine\nfunc f() {" + strings.Repeat("\n", 120) + "}\n"}},
	{"fuzz targets have seeds", "a target that begins from nothing finds nothing", fuzzSeeds,
		source{"internal/resp/x_test.go", "package resp\nimport \"testing\"\nfunc FuzzX(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }\n"}},
	{"no path of a machine", "it exists on one machine only", noMachinePath,
		source{"internal/engine/x.go", "package engine\nconst p = \"" + "/wo" + "rk/main\"\n"}},
}

// storey says how high a room lies; a room imports only lower ones.
var storey = map[string]int{
	"internal/resp": 0, "internal/command": 0, "internal/identity": 0, "internal/passwords": 0, "internal/evidence": 0, "internal/regular": 0,
	"internal/admin": 1, "internal/firewall": 1, "internal/host": 1, "internal/statedir": 1, "internal/sandbox": 1, "internal/eventloop": 1, "internal/lane": 1,
	"internal/tunnel": 2, "internal/engine": 2, "internal/config": 2, "internal/secret": 2, "internal/trail": 2, "internal/part": 2, // stand on statedir or sandbox
	"internal/pki":     3, // stands on trail
	"internal/sidecar": 3, "internal/gateway": 3,
	"internal/front":     4, // a gateway in a process of its own
	"internal/bench":     4,
	"internal/enroll":    4, // stands on pki and tunnel; a gateway is handed what it needs of it
	"internal/workload":  3, // stands on tunnel
	"internal/verify":    4, // looks at all of them from outside
	"internal/dossier":   5, // tells what verify claims
	"internal/units":     1, // stands on identity
	"docs/decisions":     0, // the records, as text
	"internal/lockdown":  2, // stands on firewall, host, statedir
	"internal/aws":       2, // stands on firewall
	"internal/migration": 3, // stands on engine, config, secret
	"internal/explain":   3, // stands on engine, command, the decisions
	"internal/up":        5, // the one role that is made of roles
	"internal/daemon":    6,
	"internal/cli":       7,
	"cmd/redoubt":        8,
}

func importsDownward(f *file) (offences []string) {
	from, known := storey[f.room()]
	if f.isTest() || strings.HasPrefix(f.path, "test/") {
		return nil
	}
	if !known {
		return []string{f.path + ": a new room: give it a storey in test/arch and in docs/architecture.md"}
	}
	for _, path := range imports(f) {
		room, ours := strings.CutPrefix(path, module)
		if !ours {
			continue
		}
		if to, ok := storey[room]; !ok || to >= from {
			offences = append(offences, fmt.Sprintf("%s imports %s", f.path, room))
		}
		if f.room() == "internal/gateway" && (room == "internal/resp" || room == "internal/command") {
			offences = append(offences, f.path+": the gateway knows no RESP")
		}
	}
	return offences
}

func valuesPure(f *file) (offences []string) {
	if level, ok := storey[f.room()]; !ok || level != 0 || f.isTest() {
		return nil
	}
	for _, path := range imports(f) {
		if strings.Contains(path, ".") && !strings.HasPrefix(path, module) {
			offences = append(offences, f.path+" imports "+path)
		}
	}
	return offences
}

func imports(f *file) (paths []string) {
	for _, i := range f.ast.Imports {
		paths = append(paths, strings.Trim(i.Path.Value, `"`))
	}
	return paths
}

// only lets the named rooms use pkg.name (as a composite literal, or at all);
// with no name, import pkg.
func only(pkg, name string, literal bool, rooms ...string) func(*file) []string {
	return func(f *file) (offences []string) {
		if f.isTest() || strings.HasPrefix(f.path, "test/") || slices.Contains(rooms, f.room()) || !slices.Contains(imports(f), pkg) {
			return nil
		}
		if name == "" {
			return []string{f.path + " imports " + pkg}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && literal {
				n = lit.Type
			} else if literal {
				return true
			}
			if selects(n, pkg, name) {
				offences = append(offences, f.at(n)+": "+pkg+"."+name)
			}
			return true
		})
		return offences
	}
}

func selects(n ast.Node, pkg, name string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg[strings.LastIndex(pkg, "/")+1:]
}

func noField(name string) func(*file) []string {
	return func(f *file) (offences []string) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if id, ok := n.Key.(*ast.Ident); ok && id.Name == name {
					offences = append(offences, f.at(n)+": "+name)
				}
			case *ast.SelectorExpr:
				if n.Sel.Name == name {
					offences = append(offences, f.at(n)+": "+name)
				}
			}
			return true
		})
		return offences
	}
}

// noSleep spares synctest, whose sleeps pass in no time.
func noSleep(f *file) (offences []string) {
	if f.isTest() && strings.Contains(f.text, `"testing/synctest"`) {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if selects(n, "time", "Sleep") || selects(n, "time", "Tick") {
			offences = append(offences, f.at(n))
		}
		return true
	})
	return offences
}

func onlyCLIPrints(f *file) (offences []string) {
	if f.isTest() || !strings.HasPrefix(f.path, "internal/") || f.room() == "internal/cli" {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		for _, name := range []string{"Print", "Println", "Printf"} {
			if selects(n, "fmt", name) {
				offences = append(offences, f.at(n))
			}
		}
		return true
	})
	return offences
}

func noInit(f *file) (offences []string) {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
			offences = append(offences, f.at(fn))
		}
	}
	return offences
}

func noWeakRandomness(f *file) (offences []string) {
	harmless := []string{"internal/engine/watch.go", "internal/sandbox/user.go", "internal/enroll/renewer.go"}
	if f.isTest() || strings.HasPrefix(f.path, "test/") || slices.Contains(harmless, f.path) {
		return nil
	}
	for _, path := range imports(f) {
		if path == "math/rand" || path == "math/rand/v2" {
			offences = append(offences, f.path+" imports "+path)
		}
	}
	return offences
}

func shortFunctions(f *file) (offences []string) {
	if f.isTest() {
		return nil
	}
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && f.lines(fn) > 100 {
			offences = append(offences, fmt.Sprintf("%s: %s has %d lines", f.at(fn), fn.Name.Name, f.lines(fn)))
		}
	}
	return offences
}

// fuzzSeeds looks for a call of f.Add, or of a helper that is handed f.
func fuzzSeeds(f *file) (offences []string) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(fn.Name.Name, "Fuzz") || !f.isTest() {
			continue
		}
		param := fn.Type.Params.List[0].Names[0].Name
		seeded := false
		ast.Inspect(fn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" {
				seeded = true
			}
			for _, arg := range call.Args {
				if id, ok := arg.(*ast.Ident); ok && id.Name == param {
					seeded = true
				}
			}
			return true
		})
		if !seeded {
			offences = append(offences, f.at(fn)+": "+fn.Name.Name+" has no seeds")
		}
	}
	return offences
}

func noMachinePath(f *file) (offences []string) {
	if strings.Contains(f.text, "/wo"+"rk/") {
		offences = append(offences, f.path)
	}
	return offences
}
