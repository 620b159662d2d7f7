package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Prints what a shell needs to complete redoubt's subcommands and flags. Packages bring it along.

Example:

  source <(redoubt completion bash)
  redoubt completion fish > ~/.config/fish/completions/redoubt.fish`
}

func (c *completionCmd) Run(e *env) error {
	model, err := e.model()
	if err != nil {
		return err
	}
	_, err = io.WriteString(e.stdout, map[string]func(*kong.Node) string{"bash": bash, "zsh": zsh, "fish": fish}[c.Shell](model.Node))
	return err
}

// bash looks for the longest subcommand among the words before the cursor, and offers
// what that one takes; for a flag's value that could be anything, files.
func bash(top *kong.Node) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Completion of redoubt, printed by redoubt completion.")
	line("__redoubt_complete() {")
	line("\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at= i offers=")
	line("\tCOMPREPLY=()")
	line("\tfor ((i = 1; i < COMP_CWORD; i++)); do")
	line("\t\tcase \"$at ${COMP_WORDS[i]}\" in")
	var paths []string
	for _, n := range commands(top)[1:] {
		paths = append(paths, fmt.Sprintf("%q", " "+strings.Join(words(n), " ")))
	}
	line("\t\t%s) at=\"$at ${COMP_WORDS[i]}\" ;;", strings.Join(paths, "|"))
	line("\t\tesac\n\tdone")
	line("\tcase \"$at $prev\" in")
	for _, n := range commands(top) {
		for _, f := range flagsOf(n) {
			if f.IsBool() {
				continue
			}
			offers := "return"
			if f.Enum != "" {
				offers = fmt.Sprintf("COMPREPLY=($(compgen -W %q -- \"$cur\")); return", strings.ReplaceAll(f.Enum, ",", " "))
			}
			line("\t%q) %s ;;", strings.Join(append([]string{""}, append(words(n), "--"+f.Name)...), " "), offers)
		}
	}
	line("\tesac")
	line("\tcase \"$at\" in")
	for _, n := range commands(top) {
		var offers []string
		for _, o := range offered(n) {
			offers = append(offers, o.word)
		}
		line("\t%q) offers=%q ;;", strings.Join(append([]string{""}, words(n)...), " "), strings.Join(offers, " "))
	}
	line("\tesac")
	line("\tCOMPREPLY=($(compgen -W \"$offers\" -- \"$cur\"))")
	line("}")
	line("[ -n \"$ZSH_VERSION\" ] || complete -o default -F __redoubt_complete redoubt")
	return b.String()
}

// zsh has bash's way of completing as a function of its own.
func zsh(top *kong.Node) string {
	return "#compdef redoubt\n" + bash(top) + "autoload -U +X bashcompinit && bashcompinit\n_bash_complete -o default -F __redoubt_complete\n"
}

func fish(top *kong.Node) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var paths []string
	for _, n := range commands(top)[1:] {
		paths = append(paths, fishQuote(strings.Join(words(n), " ")))
	}
	line("# Completion of redoubt, printed by redoubt completion.")
	line("function __redoubt_at")
	line("\tset -l at")
	line("\tfor word in (commandline -opc)[2..]")
	line("\t\tif contains -- (string join ' ' $at $word) %s", strings.Join(paths, " "))
	line("\t\t\tset -a at $word\n\t\tend\n\tend")
	line("\ttest \"$at\" = \"$argv\"\nend")
	for _, n := range commands(top) {
		at := "-n '__redoubt_at " + strings.Join(words(n), " ") + "'"
		for _, o := range offered(n) {
			switch {
			case o.flag == nil && strings.HasPrefix(o.word, "-"):
				line("complete -c redoubt %s -l %s -d %s", at, o.word[2:], fishQuote(o.help))
			case o.flag == nil:
				line("complete -c redoubt -f %s -a %s -d %s", at, o.word, fishQuote(o.help))
			case o.flag.Enum != "":
				line("complete -c redoubt %s -l %s -x -a %s -d %s", at, o.flag.Name, fishQuote(strings.ReplaceAll(o.flag.Enum, ",", " ")), fishQuote(o.help))
			case o.flag.IsBool():
				line("complete -c redoubt %s -l %s -d %s", at, o.flag.Name, fishQuote(o.help))
			default:
				line("complete -c redoubt %s -l %s -r -F -d %s", at, o.flag.Name, fishQuote(o.help))
			}
		}
	}
	return b.String()
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// offer is a word that may come next.
type offer struct {
	word, help string
	flag       *kong.Flag // nil for a subcommand, an argument's value, and --help
}

func offered(n *kong.Node) (offers []offer) {
	for _, child := range n.Children {
		if !child.Hidden {
			offers = append(offers, offer{word: child.Name, help: child.Help})
		}
	}
	for _, p := range n.Positional {
		if p.Enum != "" {
			for value := range strings.SplitSeq(p.Enum, ",") {
				offers = append(offers, offer{word: value, help: p.Help})
			}
		}
	}
	for _, f := range flagsOf(n) {
		offers = append(offers, offer{"--" + f.Name, f.Help, f})
	}
	return append(offers, offer{word: "--help", help: "What it is, and its flags."})
}
