package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// manualCmd writes a manual page (man-pages(7)) for each subcommand, from what --help
// prints. It is for packages.
type manualCmd struct {
	Out string `arg:"" placeholder:"DIR" help:"Where the pages go."`
}

func (c *manualCmd) Run(e *env) error {
	model, err := e.model()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	for _, node := range commands(model.Node) {
		name := strings.Join(append([]string{"redoubt"}, words(node)...), "-")
		if err := statedir.WriteFile(filepath.Join(c.Out, name+".1"), []byte(page(name, node, model.Node)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// model is the command line as kong has it.
func (e *env) model() (*kong.Application, error) {
	parser, err := newParser(e, func(int) {})
	if err != nil {
		return nil, err
	}
	return parser.Model, nil
}

// commands are a node and all below it that --help shows, in their order.
func commands(n *kong.Node) []*kong.Node {
	all := []*kong.Node{n}
	for _, child := range n.Children {
		if !child.Hidden {
			all = append(all, commands(child)...)
		}
	}
	return all
}

// words are what is typed after redoubt to get to a node.
func words(n *kong.Node) []string {
	if n.Parent == nil {
		return nil
	}
	return append(words(n.Parent), n.Name)
}

// flagsOf are those that a subcommand takes, --help apart.
func flagsOf(n *kong.Node) (flags []*kong.Flag) {
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			if f.Name != "help" {
				flags = append(flags, f)
			}
		}
	}
	return flags
}

// page is one manual page; top has what is the same in all.
func page(name string, n, top *kong.Node) string {
	var b strings.Builder
	macro := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	macro(`.TH "%s" 1 "" "redoubt %s" "Redoubt"`, strings.ToUpper(name), version)
	help := n.Help
	if n == top {
		help = "a Redis cache that patient data may be put in"
	}
	help = strings.TrimSuffix(help, ".")
	macro(".SH NAME\n%s \\- %s", roff(name), roff(strings.ToLower(help[:1])+help[1:]))
	macro(".SH SYNOPSIS\n.nf\n%s\n.fi", roff(strings.Join(append([]string{"redoubt"}, append(words(n), synopsis(n)...)...), " ")))
	detail := n.Detail
	if n == top {
		detail = description
	}
	if detail != "" {
		macro(".SH DESCRIPTION")
		paragraphs(macro, detail)
	}
	if len(n.Children) > 0 {
		macro(".SH COMMANDS")
		for _, child := range n.Children {
			if !child.Hidden {
				macro(".TP\n.B %s\n%s", roff(child.Name), roff(child.Help))
			}
		}
	}
	if len(n.Positional) > 0 || len(flagsOf(n)) > 0 {
		macro(".SH OPTIONS")
	}
	for _, p := range n.Positional {
		macro(".TP\n.I %s\n%s", roff(p.Summary()), roff(p.Help))
	}
	for _, f := range flagsOf(n) {
		option := "--" + f.Name
		if !f.IsBool() {
			option += "=" + f.FormatPlaceHolder()
		}
		macro(".TP\n.B %s\n%s", roff(option), roff(f.Help))
	}
	macro(".SH EXIT STATUS\n0: done. 1: refused, or it failed. 2: a wrong configuration or command line. 3: something is missing on this machine.")
	macro(".SH SEE ALSO")
	see := []string{"redoubt(1)"}
	if n == top {
		see = nil
		for _, child := range n.Children {
			if !child.Hidden {
				see = append(see, "redoubt-"+child.Name+"(1)")
			}
		}
	}
	macro("%s", roff(strings.Join(append(see, "/usr/share/doc/redoubt"), ", ")))
	return b.String()
}

func synopsis(n *kong.Node) (parts []string) {
	if len(flagsOf(n)) > 0 {
		parts = append(parts, "[flags]")
	}
	for _, p := range n.Positional {
		parts = append(parts, p.Summary())
	}
	if len(n.Children) > 0 {
		parts = append(parts, "COMMAND")
	}
	return parts
}

// paragraphs sets text as --help has it: what is indented is an example.
func paragraphs(macro func(string, ...any), text string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(part, "  ") {
			macro(".PP\n.RS 4\n.nf\n%s\n.fi\n.RE", roff(strings.TrimRight(part, "\n")))
			continue
		}
		macro(".PP\n%s", roff(part))
	}
}

// roff makes a text's characters stand for themselves (groff(7), "Escape sequences").
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "→", `->`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
