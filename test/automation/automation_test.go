//go:build slow

package automation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// deployment accepts what a container can't have: settings of the kernel, a clock, and
// the engine of Debian's first release without the updates that came after.
const deployment = `deployment: clinic
gateways: [{name: cache-1, address: 10.77.0.2, ca: true}]
apps: [{name: web-1, address: 10.77.0.3}]
bastions: [10.77.0.9]
engine: {memory: 64mb, max_value: 8mb}
exceptions:
  - {check: RD-442, owner: the tests, reason: a container has its machine's kernel, until: 2100-01-01}
  - {check: RD-445, owner: the tests, reason: a container has its machine's kernel, until: 2100-01-01}
  - {check: RD-446, owner: the tests, reason: a container has its machine's kernel, until: 2100-01-01}
  - {check: RD-512, owner: the tests, reason: Debian as it was released, until: 2100-01-01}
  - {check: RD-620, owner: the tests, reason: a container has its machine's clock, until: 2100-01-01}
`

// given is what every tool starts from.
type given struct {
	deb, deployment, digests, env string // files
}

func newGiven(t *testing.T) given {
	t.Helper()
	dir := t.TempDir()
	g := given{lab.Package(t, "1.2.3"), filepath.Join(dir, "deployment.yaml"), filepath.Join(dir, "secret/password.sha256"), filepath.Join(dir, "secret/app.env")}
	if err := os.WriteFile(g.deployment, []byte(deployment), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.Sure(t, exec.Command(lab.Redoubt(t), "secret", "new", "--out", filepath.Dir(g.env)))
	return g
}

// A tool sets hosts up.
type tool struct {
	name string
	run  func(*hosts)
}

// hosts are two machines as their distribution makes them, with the tools on them, and
// what every tool is given in /root.
type hosts struct {
	t          *testing.T
	given      given
	cache, web *lab.Machine
	bastion    *lab.Host
}

// onMachines are the packages that the tools need where they work.
func onMachines(t *testing.T) []string {
	return append([]string{"sudo", "puppet-agent", "cloud-init"}, chefNeeds(t)...)
}

func newHosts(t *testing.T, g given) *hosts {
	t.Helper()
	n := lab.NewNetwork(t)
	h := &hosts{t: t, given: g, bastion: n.Host("bastion", "10.77.0.9/16")}
	packages := onMachines(t)
	h.cache, h.web = n.Unbooted("cache-1", "10.77.0.2/16", packages...), n.Unbooted("web-1", "10.77.0.3/16", packages...)
	for _, m := range []*lab.Machine{h.cache, h.web} {
		for _, path := range []string{g.deb, g.deployment, g.digests, g.env} {
			name := filepath.Base(path)
			if path == g.deb {
				name = "redoubt.deb"
			}
			lab.Sure(t, exec.Command("install", "-m", "600", path, m.Path("/root/"+name)))
		}
		h.write(m, "/etc/cloud/cloud-init.disabled", "", 0o644)
	}
	// An application host has no Redis of its own.
	lab.Sure(t, exec.Command("systemctl", "--root", h.web.Path("/"), "disable", "redis-server"))
	return h
}

func (h *hosts) boot() {
	h.cache.Boot()
	h.web.Boot()
}

func (h *hosts) write(m *lab.Machine, path, text string, mode os.FileMode) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.Path(path)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(m.Path(path), []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hosts) on(m *lab.Machine, script string) string {
	h.t.Helper()
	out, code := lab.Run(h.t, m.Command("sh", "-ec", script))
	if code != 0 {
		journal, _ := lab.Run(h.t, m.Command("journalctl", "--no-pager", "-n", "40"))
		h.t.Fatalf("%s: %d\n%s\n%s", script, code, out, journal)
	}
	return out
}

// token is one for web-1.
func (h *hosts) token() string {
	h.t.Helper()
	return h.on(h.cache, "redoubt token create --dir /etc/redoubt/ca --name web-1 --deployment /etc/redoubt/deployment.yaml 2>/dev/null")
}

// TestEachToolMakesTheSameHosts.
func TestEachToolMakesTheSameHosts(t *testing.T) {
	g := newGiven(t)
	var want map[string]string
	for _, tool := range []tool{{"by hand", byHand}, {"ansible", byAnsible}, {"puppet", byPuppet}, {"chef", byChef}, {"cloud-init", byCloudInit}} {
		t.Run(tool.name, func(t *testing.T) {
			h := newHosts(t, g)
			tool.run(h)
			h.answers()
			h.keepsTheCAsKey()
			got := map[string]string{"cache-1": h.state(h.cache, ""), "web-1": h.state(h.web, "--env /etc/redoubt/app.env")}
			if want == nil {
				want = got
			}
			for host := range want {
				if d := udiff.Unified("by hand", tool.name, want[host], got[host]); d != "" {
					t.Errorf("%s:\n%s", host, d)
				}
			}
		})
	}
}

// answers sees the application's own way through it.
func (h *hosts) answers() {
	h.t.Helper()
	if got := h.on(h.web, `. /etc/redoubt/app.env && redis-cli --no-auth-warning -u "$REDIS_URL" SET greeting hello`); strings.TrimSpace(got) != "OK" {
		h.t.Error(got)
	}
}

// keepsTheCAsKey is who has a copy of the host's disk, but neither its TPM nor what a
// machine without one keeps its host key in: the CA signs nothing for him. On the host
// itself it signs without a question.
func (h *hosts) keepsTheCAsKey() {
	h.t.Helper()
	const sign = "redoubt pki issue --dir %s --role app --name thief --out %s/thief 2>&1"
	here := h.t.TempDir()
	lab.Sure(h.t, exec.Command("cp", "-r", h.cache.Path("/etc/redoubt/ca"), here+"/ca"))
	out, code := lab.Run(h.t, exec.Command("sh", "-c", fmt.Sprintf("exec "+strings.Replace(sign, "redoubt", lab.Redoubt(h.t), 1), here+"/ca", here)))
	if code == 0 || !strings.Contains(out, "--passphrase-file") {
		h.t.Errorf("who has the disk has the CA: %d\n%s", code, out)
	}
	if key := read(h.t, here+"/ca/ca.key"); strings.Contains(key, "BEGIN PRIVATE KEY") {
		h.t.Error("the CA's key lies in plain")
	}
	h.on(h.cache, fmt.Sprintf(sign, "/etc/redoubt/ca", "/root"))
}

// state is what a host has come to.
func (h *hosts) state(m *lab.Machine, flags string) string {
	h.t.Helper()
	var b strings.Builder
	b.WriteString(h.on(m, `
for f in /etc/redoubt/*.yaml /etc/redoubt/nftables.conf /etc/redoubt/password.sha256 /etc/redoubt/app.env /usr/bin/redoubt \
	/etc/credstore.encrypted/* /usr/lib/systemd/system/redoubt* /usr/lib/sysusers.d/redoubt* /etc/systemd/system/redoubt* /etc/systemd/system/redoubt*.d/* \
	/etc/sysctl.d/60-redoubt.conf /etc/tmpfiles.d/60-redoubt.conf /etc/security/limits.d/60-redoubt.conf /etc/systemd/coredump.conf.d/60-redoubt.conf /etc/ssh/sshd_config.d/*; do
	[ -f "$f" ] || continue
	stat --format '%n %a %U:%G' "$f"
	case $f in */credstore.encrypted/*) ;; *) sha256sum <"$f" ;; esac
done
find /etc/redoubt -mindepth 1 -maxdepth 2 ! -name join-token -printf '%p %y %m %u:%g\n' | grep -v -e '/ca/' -e '^/etc/redoubt/log' | sort # what was recorded is each tool's own
find /etc/systemd/system -type l -printf '%p -> %l\n' | grep -v 'redis.service\|cloud-' | sort
nft --stateless list table inet redoubt | sed -E ':a; /elements = \{[^}]*$/ { N; ba }; /elements = \{[^}]*limit rate/ d' # who came within the last minute
sshd -T | sort
for u in redoubt-gateway redoubt-sidecar.socket redoubt-sidecar redis-server; do echo "$u $(systemctl is-enabled $u) $(systemctl is-active $u)"; done || true`))
	for _, c := range h.verified(m, flags).Checks {
		fmt.Fprintf(&b, "%s %s\n", c.ID, c.Outcome)
		var facts []string
		for name, value := range c.Facts {
			facts = append(facts, fmt.Sprintf("  %s: %s\n", name, value))
		}
		slices.Sort(facts)
		b.WriteString(strings.Join(facts, ""))
	}
	return b.String()
}

// verified is what verify finds on a host. A search for the canary that a busy machine
// lets come to no end is begun again.
func (h *hosts) verified(m *lab.Machine, flags string) *evidence.Report {
	for tries := 3; ; tries-- {
		out, code := lab.Run(h.t, m.Command("sh", "-c", "redoubt verify --deployment /etc/redoubt/deployment.yaml --json /root/report.json "+flags))
		if code != 0 {
			h.t.Errorf("redoubt verify: %d\n%s", code, out)
		}
		text, err := os.ReadFile(m.Path("/root/report.json"))
		if err != nil {
			h.t.Fatal(err)
		}
		r, err := evidence.Decode(text)
		if err != nil {
			h.t.Fatal(err)
		}
		unended := slices.ContainsFunc(r.Checks, func(c evidence.Result) bool {
			return (c.ID == "RD-401" || c.ID == "RD-405") && c.Outcome == evidence.Skip && strings.HasPrefix(c.Detail, "the search ")
		})
		if !unended || tries == 1 {
			return r
		}
	}
}

// byHand is docs/operations.md.
func byHand(h *hosts) {
	h.boot()
	h.on(h.cache, `ln -sf /dev/null /etc/systemd/system/redis-server.service
systemctl daemon-reload; systemctl stop redis-server
dpkg --install /root/redoubt.deb
install -m 644 /root/deployment.yaml /etc/redoubt/deployment.yaml
redoubt pki init --seal --deployment clinic --dir /etc/redoubt/ca
redoubt render config --host cache-1 --out /etc/redoubt/gateway.yaml
install -m 600 /root/password.sha256 /etc/redoubt/password.sha256
systemctl enable --now redoubt-gateway
redoubt host apply --no-rollback`)
	h.write(h.web, "/root/token", h.token(), 0o600)
	h.on(h.web, `dpkg --install /root/redoubt.deb
install -m 644 /root/deployment.yaml /etc/redoubt/deployment.yaml
install -m 600 /root/app.env /etc/redoubt/app.env
redoubt render config --host web-1 --out /etc/redoubt/sidecar.yaml
redoubt join --token-file /root/token
systemctl enable --now redoubt-sidecar.socket redoubt-sidecar.service
redoubt host apply --no-rollback`)
}

// byAnsible comes from the bastion, as a person with a key who may become root.
func byAnsible(h *hosts) {
	h.boot()
	dir := h.t.TempDir()
	lab.Sure(h.t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/key"))
	public, err := os.ReadFile(dir + "/key.pub")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range []*lab.Machine{h.cache, h.web} {
		h.write(m, "/root/key.pub", string(public), 0o600)
		h.write(m, "/etc/sudoers.d/ops", "ops ALL=(ALL) NOPASSWD: ALL\n", 0o440)
		h.on(m, `useradd --create-home --shell /bin/sh ops && install -d -m 700 -o ops -g ops ~ops/.ssh && install -m 600 -o ops -g ops /root/key.pub ~ops/.ssh/authorized_keys`)
	}
	inventory := `[redoubt_gateways]
cache-1 ansible_host=10.77.0.2
[redoubt_apps]
web-1 ansible_host=10.77.0.3
[all:vars]
ansible_user=ops
ansible_ssh_private_key_file=` + dir + `/key
ansible_python_interpreter=/usr/bin/python3
`
	vars, err := json.Marshal(map[string]any{
		"redoubt_deployment_file": h.given.deployment, "redoubt_package": h.given.deb,
		"redoubt_password_digests": read(h.t, h.given.digests), "redoubt_app_env": read(h.t, h.given.env),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for name, text := range map[string]string{"hosts": inventory, "vars.json": string(vars)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	play := func(more ...string) (string, int) {
		cmd := h.bastion.Command(append([]string{"/usr/bin/ansible-playbook", "-i", dir + "/hosts", "--extra-vars", "@" + dir + "/vars.json", "../../deploy/ansible/site.yml"}, more...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=False", "LC_ALL=C.UTF-8")
		return lab.Run(h.t, cmd)
	}
	if out, code := play("--extra-vars", `{"redoubt_without": ["disks"]}`); code == 0 || !strings.Contains(out, "disks") {
		h.t.Errorf("a part that there is not: %d\n%s", code, out)
	}
	if out, code := play(); code != 0 || strings.Contains(out, secretOf(h.t, h.given.env)) {
		h.t.Fatalf("%d\n%s", code, out)
	}
	out, code := play()
	if again := regexp.MustCompile(`(cache-1|web-1) +: ok=\d+ +changed=0 +unreachable=0 +failed=0`); code != 0 || len(again.FindAllString(out, -1)) != 2 {
		h.t.Errorf("a second time: %d\n%s", code, out)
	}
	h.byAnsibleChanged(play)
}

// byAnsibleChanged changes what the gateway serves by: the cache isn't emptied unless
// somebody says so, also where the command line makes a string of "false"; application
// hosts are set up nevertheless, and who runs it learns what to do.
func (h *hosts) byAnsibleChanged(play func(...string) (string, int)) {
	h.t.Helper()
	file, err := json.Marshal(map[string]string{"redoubt_deployment_file": h.given.deployment + ".changed"})
	if err != nil {
		h.t.Fatal(err)
	}
	const gatewayIs = "systemctl show --value --property MainPID redoubt-gateway"
	before := h.on(h.cache, gatewayIs)
	change := func(to, more string) string {
		h.t.Helper()
		changed := strings.Replace(deployment, "memory: 64mb", to, 1) + more
		if err := os.WriteFile(h.given.deployment+".changed", []byte(changed), 0o644); err != nil {
			h.t.Fatal(err)
		}
		return changed
	}
	change("memory: 65mb, uses: [sessions]", "")
	if out, code := play("--extra-vars", string(file), "--extra-vars", "redoubt_lock_down=false"); code != 0 {
		h.t.Errorf("what can change in a gateway that runs: %d\n%s", code, out)
	}
	if now, told := h.on(h.cache, gatewayIs), h.on(h.cache, "redoubt status --json"); now != before || !strings.Contains(told, `"sessions"`) {
		h.t.Errorf("process %s, before %s: %s", now, before, told)
	}
	changed := change("memory: 65mb, max_clients: 9000", "ssh_forwards: [tcp]\n")
	out, code := play("--extra-vars", string(file), "--extra-vars", "redoubt_restart_gateway=false redoubt_lock_down=false")
	if now := h.on(h.cache, gatewayIs); now != before {
		h.t.Error("redoubt_restart_gateway=false restarts the gateway")
	}
	if code == 0 || !strings.Contains(out, "redoubt_restart_gateway=true") {
		h.t.Errorf("a gateway that runs with an older configuration: %d\n%s", code, out)
	}
	if got := h.on(h.web, "cat /etc/redoubt/deployment.yaml"); got != changed {
		h.t.Errorf("web-1 wasn't reached:\n%s", out)
	}
	if got := h.on(h.cache, "sshd -T | grep -i '^allowtcpforwarding'"); got != "allowtcpforwarding no\n" {
		h.t.Errorf("redoubt_lock_down=false locks down: %s", got)
	}
	if out, code := play("--extra-vars", string(file), "--extra-vars", "redoubt_verify=false redoubt_lock_down=false redoubt_restart_gateway=true"); code != 0 {
		h.t.Errorf("redoubt_verify=false verifies: %d\n%s", code, out)
	}
	if now := h.on(h.cache, gatewayIs); now == before {
		h.t.Error("redoubt_restart_gateway=true restarts nothing, since the file had changed before")
	}
	if out, code := play("--extra-vars", "redoubt_restart_gateway=true"); code != 0 { // as it was
		h.t.Errorf("%d\n%s", code, out)
	}
}

// byPuppet applies a manifest on each host; secrets are read where they are applied.
func byPuppet(h *hosts) {
	for _, m := range []*lab.Machine{h.cache, h.web} {
		lab.Sure(h.t, exec.Command("cp", "-r", "../../deploy/puppet/redoubt", m.Path("/root/modules.redoubt")))
	}
	h.boot()
	common := "class { 'redoubt': deployment => file('/root/deployment.yaml'), package_source => '/root/redoubt.deb' }\n"
	apply := func(m *lab.Machine, manifest string) (string, int) {
		h.write(m, "/root/site.pp", common+manifest, 0o600)
		return lab.Run(h.t, m.Command("sh", "-c", "mkdir -p /root/modules && cp -r /root/modules.redoubt /root/modules/redoubt 2>/dev/null; puppet apply --color false --detailed-exitcodes --modulepath /root/modules /root/site.pp"))
	}
	// 2: something was changed. 0: nothing.
	twice := func(m *lab.Machine, manifest string) {
		h.t.Helper()
		for i, want := range []int{2, 0} {
			if out, code := apply(m, manifest); code != want || strings.Contains(out, "Error:") || strings.Contains(out, secretOf(h.t, h.given.env)) {
				h.t.Fatalf("run %d of puppet: %d\n%s", i+1, code, out)
			}
		}
	}
	if out, code := apply(h.cache, "class { 'redoubt::gateway': ca => 'perhaps', password_digests => Sensitive('x') }\n"); code != 1 || !strings.Contains(out, "parameter 'ca' expects a Boolean value") {
		h.t.Errorf("a parameter of the wrong type: %d\n%s", code, out)
	}
	twice(h.cache, "class { 'redoubt::gateway': ca => true, deployment_name => 'clinic', password_digests => Sensitive(file('/root/password.sha256')) }\n")
	h.write(h.web, "/root/token", h.token(), 0o600)
	twice(h.web, "class { 'redoubt::sidecar': join_token => Sensitive(Deferred('file', ['/root/token'])), app_env => Sensitive(file('/root/app.env')) }\n")
}

// byCloudInit boots both with user data: the examples, with this deployment in them.
func byCloudInit(h *hosts) {
	user := func(path string, replace ...string) string {
		text := read(h.t, path)
		for i := 0; i < len(replace); i += 2 {
			if !strings.Contains(text, replace[i]) {
				h.t.Fatalf("%s has no %q", path, replace[i])
			}
			text = strings.ReplaceAll(text, replace[i], replace[i+1])
		}
		begin := strings.Index(text, "      deployment: clinic\n")
		end := begin + strings.Index(text[begin:], "  - path: ")
		indented := "      " + strings.TrimSuffix(strings.ReplaceAll(deployment, "\n", "\n      "), "      ")
		return text[:begin] + indented + text[end:]
	}
	seed := func(m *lab.Machine, text string) {
		h.write(m, "/var/lib/cloud/seed/nocloud/user-data", text, 0o600)
		h.write(m, "/var/lib/cloud/seed/nocloud/meta-data", "instance-id: "+filepath.Base(m.Path("/"))+"\n", 0o600)
		h.write(m, "/etc/cloud/cloud.cfg.d/99-test.cfg", "datasource_list: [NoCloud]\nnetwork: {config: disabled}\npreserve_hostname: true\nlocale: false\n", 0o644)
		if err := os.Remove(m.Path("/etc/cloud/cloud-init.disabled")); err != nil {
			h.t.Fatal(err)
		}
		m.Boot()
		if out, code := lab.Run(h.t, m.Command("cloud-init", "status", "--wait", "--long")); code != 0 {
			log, _ := lab.Run(h.t, m.Command("tail", "-n", "60", "/var/log/cloud-init-output.log"))
			h.t.Fatalf("%s\n%s", out, log)
		}
		if out, code := lab.Run(h.t, m.Command("cloud-init", "schema", "--config-file", "/var/lib/cloud/seed/nocloud/user-data")); code != 0 {
			h.t.Error(out)
		}
	}
	seed(h.cache, user("../../deploy/cloud-init/gateway.yaml", "DIGESTS", strings.TrimSpace(read(h.t, h.given.digests)), "--yes redoubt redis-server", "--yes /root/redoubt.deb redis-server; systemctl daemon-reload; systemctl stop redis-server"))
	seed(h.web, user("../../deploy/cloud-init/sidecar.yaml", "TOKEN", strings.TrimSpace(h.token()), "--yes redoubt", "--yes /root/redoubt.deb; install -m 600 /root/app.env /etc/redoubt"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// secretOf is the password in app.env, which no tool may print.
func secretOf(t *testing.T, env string) string {
	t.Helper()
	m := regexp.MustCompile(`:([^:@/]{20,})@`).FindStringSubmatch(read(t, env))
	if m == nil {
		t.Fatal("app.env has no password")
	}
	return m[1]
}

// TestTheirOwnTests are what each tool's users run: lint, specs.
func TestTheirOwnTests(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		args      []string
	}{
		{"ansible-lint", "../../deploy/ansible", []string{"ansible-lint", "--offline", "--strict", "--profile", "production"}},
		{"puppet-lint", "../../deploy/puppet/redoubt", []string{"puppet-lint", "--fail-on-warnings", "manifests"}},
		{"rspec-puppet", "../../deploy/puppet/redoubt", []string{"rspec", "--no-color", "spec"}},
		{"chefspec", "../../deploy/chef/redoubt", append(chefSpec(t), "spec")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.args[0] == "" {
				t.Skip(noChef)
			}
			cmd := exec.CommandContext(t.Context(), c.args[0], c.args[1:]...)
			cmd.Dir = c.dir
			cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			if strings.HasPrefix(c.name, "rspec") || c.name == "chefspec" {
				if ran := regexp.MustCompile(`([1-9]\d*) examples, 0 failures`); !ran.MatchString(out.String()) {
					t.Error(out.String())
				}
			}
		})
	}
}
