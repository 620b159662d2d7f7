package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/explain"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

type explainCmd struct {
	Command []string `arg:"" optional:"" placeholder:"COMMAND" help:"Redis commands, as one types them: GET, CONFIG SET. One with subcommands alone stands for all of them."`
	For     []string `placeholder:"NAME" help:"Instead: what a library or framework needs: bullmq, celery, sidekiq, django, rails, laravel and more; redoubt explain lists them."`
	Config  string   `placeholder:"FILE" help:"Under the policy of this gateway.yaml or deployment.yaml. Default: of ${default_gateway} if it can be read, of redoubt up if that runs, else of a plain cache. What a running gateway was started with counts, if this user may ask it."`
	JSON    bool     `name:"json" help:"Print JSON."`
}

func (explainCmd) Help() string {
	return `Says what becomes of a command here: whether it runs, is answered by the sidecar or is refused, why, by which decision, what in the policy (uses, allow, deny in gateway.yaml) opens it, and which engines have it. With --for it says what a library needs, from a record of what each really sends.

Example:

  redoubt explain EVAL CONFIG GET
  redoubt explain CLIENT --json | jq -r '.commands[] | select(.outcome == "refused").command'
  redoubt explain --for bullmq,django`
}

const defaultGateway = "/etc/redoubt/gateway.yaml"

func (c *explainCmd) Run(e *env) error {
	const help = "redoubt explain --help"
	if len(c.Command) > 0 && len(c.For) > 0 {
		return usage(errors.New("explain: either commands or --for"), help)
	}
	if len(c.Command)+len(c.For) == 0 {
		return c.teach(e)
	}
	policy, of, err := c.policy(e.ctx)
	if err != nil {
		return misconfigured(err)
	}
	if len(c.For) > 0 {
		features, err := explain.FindLibraries(c.For)
		if err != nil {
			return usage(fmt.Errorf("explain: %w", err), help)
		}
		if c.JSON {
			return writeJSON(e.stdout, struct {
				Features []explain.Feature `json:"features"`
			}{features})
		}
		printFeatures(newPaper(e), features)
		return nil
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
	printVerdicts(newPaper(e), verdicts, of)
	return nil
}

// policy is the one that is explained, and whose it is, for people. What runs counts,
// where it can be asked: a file may have been changed since the start.
func (c *explainCmd) policy(ctx context.Context) (p engine.Policy, of string, err error) {
	path := c.Config
	if path == "" {
		path = defaultGateway
	}
	g, gatewayErr := config.LoadGateway(path)
	absent := errors.Is(gatewayErr, fs.ErrNotExist) || errors.Is(gatewayErr, fs.ErrPermission)
	switch {
	case gatewayErr == nil:
		p = engineOptions(g.Engine).Policy
		runs, ok := policyOf(ask(ctx, string(g.Admin.Socket), defaultSocket("gateway", g.Name)))
		if ok && described(runs) != described(p) {
			return runs, fmt.Sprintf("the gateway that runs%s; %s says otherwise%s, from the next start on", described(runs), path, described(p)), nil
		}
	case c.Config == "" && absent:
		if dir, err := statedir.Default(); err == nil {
			if runs, ok := policyOf(ask(ctx, filepath.Join(dir, statedir.AdminSocket), "")); ok {
				return runs, "redoubt up, which runs here" + described(runs), nil
			}
		}
		why := "has no " + path
		if errors.Is(gatewayErr, fs.ErrPermission) {
			why = "doesn't let this user read " + path
		}
		return engine.Policy{}, "a plain cache (uses: cache), since this host " + why, nil
	case absent:
		return p, "", fmt.Errorf("explain: %w", gatewayErr)
	default:
		d, err := loadDeployment(path)
		if err != nil {
			return p, "", fmt.Errorf("explain: neither a gateway's nor a deployment's configuration:\n  %w\n  %w", gatewayErr, err)
		}
		p = policyOfHosts(d.Engine)
	}
	return p, path + described(p), nil
}

// policyOf is the policy that a process was started with, if it tells.
func policyOf(running *facts) (p engine.Policy, ok bool) {
	if running == nil || running.Engine == nil {
		return p, false
	}
	e := running.Engine
	return engine.Policy{Uses: e.Uses, Allow: e.Allow, Deny: e.Deny}, len(e.Uses) > 0
}

// described is a policy's words, in brackets.
func described(p engine.Policy) string {
	of := " (uses: " + texts(p.Uses)
	for _, list := range []struct {
		what  string
		words []string
	}{{"allow", p.Allow}, {"deny", p.Deny}} {
		if len(list.words) > 0 {
			of += "; " + list.what + ": " + strings.Join(list.words, ", ")
		}
	}
	return of + ")"
}

func texts[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, one := range list {
		words[i] = string(one)
	}
	return strings.Join(words, ", ")
}

// teach is for who doesn't know what to ask.
func (c *explainCmd) teach(e *env) error {
	names := explain.Names()
	if c.JSON {
		return writeJSON(e.stdout, struct {
			Libraries []string `json:"libraries"`
		}{names})
	}
	o := newPaper(e)
	o.title("What becomes of a command here, and what a library needs")
	o.wrap("", "An application may read and write its own data. What else it may do follows from what the cache is for: uses, allow and deny in the cache host's gateway.yaml. A command that the policy closes is answered with Redis's own NOPERM; the sidecar's log and redoubt status name it.")
	fmt.Fprintln(o.w)
	for _, example := range []struct{ line, what string }{
		{"redoubt explain EVAL", "whether it runs, why, and what opens it"},
		{"redoubt explain CONFIG", "each of its subcommands"},
		{"redoubt explain --for sidekiq,django", "what the policy must say for them"},
	} {
		fmt.Fprintf(o.w, "  %-38s %s\n", example.line, example.what)
	}
	fmt.Fprintln(o.w)
	o.title("Recorded, for --for")
	o.wrap("", strings.Join(names, ", "))
	return nil
}

func printVerdicts(o *paper, verdicts []explain.Verdict, of string) {
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

func printFeatures(o *paper, features []explain.Feature) {
	last := ""
	for _, f := range features {
		if f.Library != last {
			if last != "" {
				fmt.Fprintln(o.w)
			}
			last = f.Library
			o.title(f.Library + " " + f.Version)
		}
		n := f.Needs
		need := "a plain cache is enough"
		if len(n.Closed) > 0 {
			need = "needs uses: " + texts(n.Uses)
			if len(n.Uses) > 1 {
				need = "needs one of uses: " + texts(n.Uses)
			}
			if len(n.Allow) > 0 {
				need += ", or allow: " + strings.Join(n.Allow, ", ")
			}
			need += ", for " + typed(strings.Join(n.Closed, ", "))
		}
		if len(n.Open) > 0 {
			need += "; don't deny: " + strings.Join(n.Open, ", ")
		}
		if len(n.Never) > 0 {
			need += "; sends what no policy opens: " + typed(strings.Join(n.Never, ", "))
		}
		switch f.Refused {
		case explain.Fails:
			need += ". Under a plain cache it fails"
		case explain.GoesOn:
			need += ". Under a plain cache IT GOES ON WITHOUT A WORD: look at the sidecar's log and redoubt status"
		}
		o.wrap("  "+f.Name+": ", need)
	}
	fmt.Fprintln(o.w)
	o.wrap("", "This is about commands. What else is chosen by uses is what goes when memory is full: a plain cache loses what was not used for longest, jobs and locks too, which want uses: queues or locks (decision 0014).")
}

// typed is names of the table as people type them.
func typed(names string) string { return strings.ToUpper(strings.ReplaceAll(names, "|", " ")) }
