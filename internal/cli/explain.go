package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/explain"
)

type explainCmd struct {
	Command []string `arg:"" optional:"" placeholder:"COMMAND" help:"Redis commands, as one types them: GET, CONFIG SET. One with subcommands alone stands for all of them."`
	Config  string   `placeholder:"FILE" help:"Under the policy of this gateway.yaml or deployment.yaml. Default: of ${default_gateway} if it can be read, else of a plain cache."`
	JSON    bool     `name:"json" help:"Print JSON."`
}

func (explainCmd) Help() string {
	return `Says what becomes of a command here: whether it runs, is answered by the sidecar or is refused, why, by which decision, what in the policy (uses, allow, deny in gateway.yaml) opens it, and which engines have it.

Example:

  redoubt explain EVAL CONFIG GET
  redoubt explain CLIENT --json | jq -r '.commands[] | select(.outcome == "refused").command'`
}

const defaultGateway = "/etc/redoubt/gateway.yaml"

func (c *explainCmd) Run(e *env) error {
	const help = "redoubt explain --help"
	if len(c.Command) == 0 {
		c.teach(e)
		return nil
	}
	policy, of, err := c.policy()
	if err != nil {
		return misconfigured(err)
	}
	found, err := explain.Find(c.Command)
	if err != nil {
		return usage(fmt.Errorf("explain: %w", err), help)
	}
	var verdicts []explain.Verdict
	for _, one := range found {
		v, err := explain.Of(one, policy)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, v)
	}
	if c.JSON {
		return writeJSON(e.stdout, struct {
			Policy   string            `json:"policy"`
			Commands []explain.Verdict `json:"commands"`
		}{of, verdicts})
	}
	printVerdicts(newPlanOutput(e), verdicts, of)
	return nil
}

// policy is the one that is explained, and whose it is, for people.
func (c *explainCmd) policy() (p engine.Policy, of string, err error) {
	path := c.Config
	if path == "" {
		path = defaultGateway
	}
	g, gatewayErr := config.LoadGateway(path)
	switch {
	case gatewayErr == nil:
		p = engineOptions(g.Engine).Policy
	case c.Config == "" && (errors.Is(gatewayErr, fs.ErrNotExist) || errors.Is(gatewayErr, fs.ErrPermission)):
		return engine.Policy{}, "a plain cache (uses: cache)", nil
	default:
		d, err := config.LoadDeployment(path)
		if err != nil {
			return p, "", fmt.Errorf("explain: neither a gateway's nor a deployment's configuration:\n  %w\n  %w", gatewayErr, err)
		}
		p = engine.Policy{Allow: d.Engine.Allow, Deny: d.Engine.Deny}
		for _, use := range d.Engine.Uses {
			p.Uses = append(p.Uses, engine.Use(use))
		}
	}
	of = path + " (uses: " + texts(p.Uses)
	for _, list := range []struct {
		what  string
		words []string
	}{{"allow", p.Allow}, {"deny", p.Deny}} {
		if len(list.words) > 0 {
			of += "; " + list.what + ": " + strings.Join(list.words, ", ")
		}
	}
	return p, of + ")", nil
}

func texts[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, one := range list {
		words[i] = string(one)
	}
	return strings.Join(words, ", ")
}

// teach is for who doesn't know what to ask.
func (c *explainCmd) teach(e *env) {
	o := newPlanOutput(e)
	o.title("What becomes of a command here")
	o.wrap("", "An application may read and write its own data. What else it may do follows from what the cache is for: uses, allow and deny in the cache host's gateway.yaml. A command that the policy closes is answered with Redis's own NOPERM; the sidecar's log and redoubt status name it.")
	fmt.Fprintln(o.w)
	for _, example := range []struct{ line, what string }{
		{"redoubt explain EVAL", "whether it runs, why, and what opens it"},
		{"redoubt explain CONFIG", "each of its subcommands"},
	} {
		fmt.Fprintf(o.w, "  %-38s %s\n", example.line, example.what)
	}
}

func printVerdicts(o *planOutput, verdicts []explain.Verdict, of string) {
	o.wrap("", "Under the policy of "+of+":")
	for _, v := range verdicts {
		fmt.Fprintln(o.w)
		o.title(typed(v.Command))
		o.wrap("  here      ", v.Way)
		o.wrap("  why       ", v.Why)
		if v.Opens != "" {
			o.wrap("  policy    ", v.Opens)
		}
		for _, r := range v.Records {
			o.wrap("  decision  ", fmt.Sprintf("%04d: %s", r.Number, r.Title))
		}
		o.wrap("  versions  ", strings.Join(v.In, "; "))
	}
}

// typed is names of the table as people type them.
func typed(names string) string { return strings.ToUpper(strings.ReplaceAll(names, "|", " ")) }
