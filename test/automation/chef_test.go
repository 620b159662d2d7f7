//go:build slow

package automation_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// chefDir has a Chef Infra Client made of its sources and Debian's Ruby. It lies beside
// the project where we build it, and can't be had from Debian.
const (
	chefDir = "../../../shared/chef"
	noChef  = "the cookbook was NOT run: there is no Chef here (a chef-client on the machine, or the folder shared/chef beside the project)"
)

// chefHere says whether there is one; where we build, there must be.
func chefHere(t *testing.T) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(chefDir, "chef-client"))
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(noChef)
	}
	return err == nil
}

// chefNeeds are the packages that it runs with, as it says itself.
func chefNeeds(t *testing.T) []string {
	t.Helper()
	if !chefHere(t) {
		return nil
	}
	m := regexp.MustCompile(`(?m)^need="([^"]+)"`).FindStringSubmatch(read(t, filepath.Join(chefDir, "unpack")))
	if m == nil {
		t.Fatalf("%s/unpack doesn't say what it needs", chefDir)
	}
	return strings.Fields(m[1])
}

func chefSpec(t *testing.T) []string {
	t.Helper()
	if !chefHere(t) {
		return []string{""}
	}
	path, err := filepath.Abs(filepath.Join(chefDir, "chefspec"))
	if err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

// byChef runs chef-client in local mode on each host, with a data bag for the secrets.
func byChef(h *hosts) {
	if !chefHere(h.t) {
		h.t.Skip(noChef)
	}
	for _, m := range []*lab.Machine{h.cache, h.web} {
		lab.Sure(h.t, exec.Command("sh", "-c", `mkdir -p "$1/root/cookbooks" && cp -r ../../deploy/chef/redoubt "$1/root/cookbooks" && cp -r "$2" "$1/root/chef"`, "sh", m.Path("/"), chefDir))
	}
	h.boot()
	converge := func(m *lab.Machine, recipe string, attributes map[string]any, secrets map[string]string) string {
		h.t.Helper()
		attributes["deployment"], attributes["package_source"] = deployment, "/root/redoubt.deb"
		secrets["id"] = "secrets"
		for path, of := range map[string]any{
			"/root/node.json":                      map[string]any{"run_list": []string{recipe}, "redoubt": attributes},
			"/root/data_bags/redoubt/secrets.json": secrets,
		} {
			text, err := json.Marshal(of)
			if err != nil {
				h.t.Fatal(err)
			}
			h.write(m, path, string(text), 0o600)
		}
		return h.on(m, "HOME=/root /root/chef/chef-client /root/cookbooks /root/node.json --no-color --config-option data_bag_path=/root/data_bags 2>&1")
	}
	twice := func(m *lab.Machine, recipe string, attributes map[string]any, secrets map[string]string) {
		h.t.Helper()
		if out := converge(m, recipe, attributes, secrets); strings.Contains(out, secretOf(h.t, h.given.env)) {
			h.t.Errorf("it prints the password:\n%s", out)
		}
		if out := converge(m, recipe, attributes, secrets); !regexp.MustCompile(`Infra Phase complete, 0/\d+ resources updated`).MatchString(out) {
			h.t.Errorf("a second time it changes something:\n%s", out)
		}
	}
	twice(h.cache, "redoubt::gateway", map[string]any{"ca": true, "deployment_name": "clinic"}, map[string]string{"password_digests": read(h.t, h.given.digests)})
	twice(h.web, "redoubt::sidecar", map[string]any{}, map[string]string{"app_env": read(h.t, h.given.env), "join_token": h.token()})
}
