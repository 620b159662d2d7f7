//go:build slow

// Package terraform_test has the real terraform format and evaluate what redoubt
// render terraform prints, and holds each argument against the schema of Amazon's
// provider. The provider itself is not run: it needs an account.
package terraform_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const deployment = `deployment: clinic
gateways: [{name: cache-1, address: 10.77.9.20}, {name: cache-2, address: [10.77.10.20, "fd77::2"], port: 7000}]
apps: [{name: web-1, address: 10.77.0.13}, {name: workers, network: [172.16.0.0/20, "fd77:1::/64"]}]
bastions: [10.77.0.9]
ssh_port: 2222
aws:
  vpc: 10.77.0.0/16
  subnets:
    - {name: cache-a, network: 10.77.9.0/24, zone: eu-central-1a}
    - {name: cache-b, network: 10.77.10.0/24, zone: eu-central-1b}
    - {name: apps, network: 10.77.0.0/24, zone: eu-central-1a}
`

// terraform is the one that is installed, or one built from its source.
func terraform(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("terraform"); err == nil {
		return path
	}
	path := filepath.Join(t.TempDir(), "terraform")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/hashicorp/terraform")
	build.Dir = "../../tools/terraform"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("terraform: %v\n%s", err, out)
	}
	return path
}

func rendered(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "deployment.yaml")
	if err := os.WriteFile(file, []byte(deployment), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), lab.Redoubt(t), "render", "terraform", "--deployment", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

type aclRule struct {
	Protocol, Network string
	From, To          int
}

type evaluated struct {
	Gateways map[string]struct {
		Address, Subnet string
		Port            int
		Clients         []string
	}
	Bastions      []string
	SSH           int
	ACLIn, ACLOut []aclRule
}

// TestItSaysWhatTheFirewallSays: terraform formats it, parses it and evaluates
// what differs between deployments; then each host's way in is as goal 1 has it.
func TestItSaysWhatTheFirewallSays(t *testing.T) {
	text, bin, dir := rendered(t), terraform(t), t.TempDir()
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("terraform %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	if out := run("fmt", "-check", "-diff"); out != "" {
		t.Error(out)
	}
	// The provider can't be had without its registry: of the text, terraform
	// evaluates what needs none.
	locals, _, _ := strings.Cut(text, "\n# Everything below")
	write(locals + `
output "all" {
  value = {
    Gateways = local.gateways
    Bastions = local.bastions
    SSH      = local.ssh_port
    ACLIn    = local.acl_in
    ACLOut   = local.acl_out
  }
}
`)
	run("init", "-input=false")
	run("validate")
	run("apply", "-auto-approve", "-input=false")
	var e evaluated
	if err := json.Unmarshal([]byte(run("output", "-json", "all")), &e); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		port     int
		want     bool
	}{
		{"10.77.0.13", "cache-1", 6379, true}, {"10.77.0.13", "cache-2", 7000, true}, {"10.77.0.13", "cache-2", 6379, false},
		{"172.16.3.4", "cache-1", 6379, true}, {"172.16.16.1", "cache-1", 6379, false},
		{"10.77.9.20", "cache-2", 7000, true}, {"10.77.10.20", "cache-1", 6379, true},
		{"10.77.0.9", "cache-1", 2222, true}, {"10.77.0.9", "cache-1", 6379, false}, {"10.77.0.9", "cache-1", 22, false},
		{"10.77.0.13", "cache-1", 2222, false}, {"10.77.0.66", "cache-1", 6379, false}, {"10.77.0.66", "cache-1", 2222, false},
		{"192.0.2.1", "cache-1", 6379, false}, {"10.77.0.13", "cache-1", 8080, false},
	} {
		if got := e.admits(c.from, c.to, c.port); got != c.want {
			t.Errorf("%s reaches port %d of %s: %v, want %v", c.from, c.port, c.to, got, c.want)
		}
	}
}

// admits is a connection's way through network ACL and security group: its
// packets in, its answers out.
func (e evaluated) admits(from, to string, port int) bool {
	in := func(networks []string) bool {
		return slices.ContainsFunc(networks, func(n string) bool { return netip.MustParsePrefix(n).Contains(netip.MustParseAddr(from)) })
	}
	acl := func(rules []aclRule, port int) bool {
		return slices.ContainsFunc(rules, func(r aclRule) bool {
			return r.Protocol == "tcp" && in([]string{r.Network}) && r.From <= port && port <= r.To
		})
	}
	const answer = 50000
	g := e.Gateways[to]
	group := port == g.Port && in(g.Clients) || port == e.SSH && in(e.Bastions)
	return group && acl(e.ACLIn, port) && acl(e.ACLOut, answer)
}

var (
	block    = regexp.MustCompile(`^( *)(resource|dynamic|ingress|egress|content)(?: "(\w+)")?(?: "\w+")? \{`)
	argument = regexp.MustCompile(`^( *)(\w+) +=`)
	field    = regexp.MustCompile(`readonly (\w+)(\??):`)
)

// TestTheProviderKnowsEveryArgument: that each resource and argument is there, and
// each that is required is given, says the provider's schema, as the package of
// its TypeScript bindings has it.
func TestTheProviderKnowsEveryArgument(t *testing.T) {
	given, count := resources(rendered(t)), 0
	for of, arguments := range given {
		kind, nested, _ := strings.Cut(of, ".")
		known := schema(t, kind, nested)
		for _, a := range arguments {
			count++
			if _, ok := known[camel(a)]; !ok && a != "for_each" {
				t.Errorf("%s has no argument %s", of, a)
			}
		}
		for name, required := range known {
			if required && !slices.ContainsFunc(arguments, func(a string) bool { return camel(a) == name }) {
				t.Errorf("%s lacks %s", of, name)
			}
		}
	}
	if len(given) < 14 || count < 50 {
		t.Errorf("only %d arguments of %d blocks were looked at", count, len(given))
	}
	if _, ok := schema(t, "aws_vpc", "")["cidrBlok"]; ok {
		t.Error("the control: a misspelt argument is known")
	}
}

// resources reads a formatted text: its resources and their blocks
// ("aws_network_acl.ingress"), each with its arguments.
func resources(text string) map[string][]string {
	found := map[string][]string{}
	var kind, nested string
	inner := 0 // how far in a block's arguments stand
	for line := range strings.Lines(text) {
		switch m := block.FindStringSubmatch(line); {
		case m != nil && m[2] == "resource":
			kind, nested, inner = m[3], "", 2
		case m != nil && m[2] == "content":
			inner = 6
		case m != nil:
			nested, inner = max(m[3], strings.TrimPrefix(m[2], "dynamic")), 4
			if m[2] == "dynamic" {
				inner = 99 // for_each is the dynamic's own
			}
		case strings.HasPrefix(line, "  }"):
			nested, inner = "", 2
		case strings.HasPrefix(line, "}"):
			kind = ""
		}
		if m := argument.FindStringSubmatch(line); m != nil && kind != "" && len(m[1]) == inner {
			of := kind
			if nested != "" {
				of += "." + nested
			}
			if !slices.Contains(found[of], m[2]) {
				found[of] = append(found[of], m[2])
			}
		}
	}
	return found
}

// schema are the arguments of a resource or of its nested block, and whether each
// is required.
func schema(t *testing.T, kind, nested string) map[string]bool {
	t.Helper()
	short := strings.TrimPrefix(kind, "aws_")
	path := fmt.Sprintf("node_modules/@cdktf/provider-aws/lib/%s/index.d.ts", strings.ReplaceAll(short, "_", "-"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := upper(short) + "Config "
	if nested != "" {
		name = upper(short) + upper(nested) + " "
	}
	_, from, ok := strings.Cut(string(text), "export interface "+name)
	body, _, _ := strings.Cut(from, "\n}")
	if !ok {
		t.Fatalf("%s has no %s", path, name)
	}
	known := map[string]bool{}
	for _, m := range field.FindAllStringSubmatch(body, -1) {
		known[m[1]] = m[2] == ""
	}
	return known
}

func upper(snake string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(snake, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func camel(snake string) string {
	word := upper(snake)
	return strings.ToLower(word[:1]) + word[1:]
}
