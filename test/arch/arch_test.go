// Package arch_test holds the rules about the tree that matter, each with its
// reason in the message: which package may import which, who may build a
// tls.Config, who may exec, how long a function may be.
//
// A rule is a function from one parsed file to its offences. Beside each rule
// stands a source that breaks it, and the test sees it fail: a rule that has
// never failed proves nothing.
package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/redoubt-cache/redoubt/"

// file is a parsed source file; path is relative to the repository's root.
type file struct {
	path string
	fset *token.FileSet
	ast  *ast.File
	text string
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// room is the package's path below the module: internal/engine, cmd/redoubt.
func (f *file) room() string { return filepath.ToSlash(filepath.Dir(f.path)) }

func (f *file) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path, f.fset.Position(n.Pos()).Line)
}

func (f *file) lines(n ast.Node) int {
	return f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
}

func parse(t *testing.T, path, text string) *file {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return &file{path, fset, tree, text}
}

// sources parses every Go file of the product and its tests.
func sources(t *testing.T) []*file {
	t.Helper()
	var files []*file
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, parse(t, relative, string(text)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 30 {
		t.Fatalf("only %d files found: the walk is broken", len(files))
	}
	return files
}

func TestTheTreeKeepsItsRules(t *testing.T) {
	files := sources(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range files {
				for _, offence := range r.check(f) {
					t.Errorf("%s\n\twhy: %s", offence, r.why)
				}
			}
		})
	}
}

func TestEveryRuleFailsWhereItShould(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if r.broken.text == "" {
				t.Fatal("the rule has no source that breaks it")
			}
			if got := r.check(parse(t, r.broken.path, r.broken.text)); len(got) == 0 {
				t.Fatalf("the rule lets this through:\n%s", r.broken.text)
			}
		})
	}
}

// TestEveryPackageHasAManual: the comment of a package is where a newcomer
// starts, so each has one.
func TestEveryPackageHasAManual(t *testing.T) {
	manual := map[string]bool{}
	for _, f := range sources(t) {
		if strings.HasPrefix(f.path, "internal"+string(filepath.Separator)) && !f.isTest() {
			manual[f.room()] = manual[f.room()] || f.ast.Doc != nil && strings.Count(f.ast.Doc.Text(), "\n") >= 4
		}
	}
	for room, ok := range manual {
		if !ok {
			t.Errorf("%s: no package comment of at least four lines", room)
		}
	}
}
