package e2e_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
	verification "github.com/redoubt-cache/redoubt/internal/verify"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// The hosts' names are this process's own: gateway and sidecar answer redoubt
// verify at a socket that is named by them, in a directory that all of this
// machine's network namespaces share.
var (
	cacheName = fmt.Sprintf("cache-%d", os.Getpid())
	webName   = fmt.Sprintf("web-%d", os.Getpid())
)

// handmade is a cache as a team locks it down by hand, on hosts of its own, that
// serves: a Redis, a CA of openssl's, and one certificate for all hosts.
type handmade struct {
	*site
	password string
	waits    func() time.Duration // who has said nothing for so long waits
}

func newHandmade(t *testing.T) *handmade {
	t.Helper()
	n := lab.NewNetwork(t)
	h := &handmade{waits: lab.Promised(t, 1500*time.Millisecond), password: "correct $horse; battery", site: &site{t: t, net: n, dir: t.TempDir(), cache: n.Host("cache-1", "10.77.0.2/24"), web: n.Host("web-1", "10.77.0.3/24")}}
	openssl := func(args string) {
		t.Helper()
		cmd := exec.Command("openssl", strings.Fields(args)...)
		cmd.Dir = h.dir
		if out, code := lab.Run(t, cmd); code != 0 {
			t.Fatal(out)
		}
	}
	openssl("req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=ca -keyout ca.key -out ca.pem")
	openssl("req -newkey rsa:2048 -nodes -subj /CN=redis -keyout host.key -out host.csr")
	openssl("x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1825 -out host.pem")
	return h
}

// talk is redis-cli on the web host with the team's password.
func (h *handmade) talk(port int, args ...string) string {
	h.t.Helper()
	cmd := h.web.Command(append([]string{"redis-cli", "-p", fmt.Sprint(port)}, args...)...)
	cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+h.password)
	out, _ := lab.Run(h.t, cmd)
	return strings.TrimSpace(out)
}

func (h *handmade) stunnel(on *lab.Host, name, text string) *lab.Process {
	h.t.Helper()
	h.write(name, h.dir, text)
	cmd := on.Command("stunnel", h.path(name))
	return lab.Start(h.t, cmd, "Configuration successful")
}

// bring imports, twice, and sees that no secret is printed.
func (h *handmade) bring(args ...string) string {
	h.t.Helper()
	args = append(append([]string{"import"}, args...), "--deployment", "clinic", "--name", cacheName, "--client-name", webName, "--app", webName+"=10.77.0.3", "--bastion", "10.77.0.9", "--out", h.path("new"))
	out, code := lab.Run(h.t, exec.Command(lab.Redoubt(h.t), args...))
	if code != 0 || strings.Contains(out, h.password) || strings.Contains(out, "horse") {
		h.t.Fatalf("exit code %d\n%s", code, out)
	}
	again, code := lab.Run(h.t, exec.Command(lab.Redoubt(h.t), args...))
	if code != 0 || !strings.Contains(again, "password.sha256  was there, the same") {
		h.t.Fatalf("again: exit code %d\n%s", code, again)
	}
	for _, name := range []string{"app.env", cacheName + "/password.sha256"} {
		if info, err := os.Stat(h.path("new", name)); err != nil || info.Mode().Perm() != 0o600 {
			h.t.Errorf("%s: %v %v", name, info, err)
		}
	}
	return out
}

// begin does the steps that an import leaves, up to the cut-over.
func (h *handmade) begin(port string) *lab.Process {
	h.t.Helper()
	h.redoubt("pki", "init", "--deployment", "clinic", "--dir", h.path("new", cacheName, "ca"))
	gateway := lab.Start(h.t, h.cache.Command(lab.Redoubt(h.t), "gateway", "--config", h.path("new", cacheName, "gateway.yaml"), "--log-format", "text"), "msg=ready")
	token, err := exec.Command(lab.Redoubt(h.t), "token", "create", "--dir", h.path("new", cacheName, "ca"), "--name", webName, "--gateway", cacheName+"=10.77.0.2:"+port).Output()
	must(h.t, err)
	join := h.web.Command(lab.Redoubt(h.t), "join", "--token-file", "-", "--dir", h.path("new", webName))
	join.Stdin = strings.NewReader(string(token))
	if out, code := lab.Run(h.t, join); code != 0 {
		h.t.Fatal(out)
	}
	return gateway
}

func (h *handmade) sidecarOf() *lab.Process {
	h.t.Helper()
	return lab.Start(h.t, h.web.Command(lab.Redoubt(h.t), "sidecar", "--config", h.path("new", webName, "sidecar.yaml"), "--log-format", "text"), "msg=ready")
}

// verified is redoubt verify passing on both hosts. What is the machine's own (its
// packet filter, kernel and clock) is accepted, as a pipeline would for a time.
func (h *handmade) verified() {
	h.t.Helper()
	hosts := read(h.t, h.path("new", "deployment.yaml")) + "exceptions:\n"
	for _, c := range verification.Checks() {
		if c.OfHost {
			hosts += "  - {check: " + c.ID + ", owner: the test, reason: not the deployment's, until: 2099-12-31}\n"
		}
	}
	h.write("deployment.yaml", h.dir, hosts)
	for host, cmd := range map[string]*exec.Cmd{
		cacheName: h.cache.Command(lab.Redoubt(h.t), "verify", "--config", h.path("new", cacheName, "gateway.yaml"), "--deployment", h.path("deployment.yaml"), "--json", h.path(cacheName+".json")),
		webName:   h.web.Command(lab.Redoubt(h.t), "verify", "--config", h.path("new", webName, "sidecar.yaml"), "--deployment", h.path("deployment.yaml"), "--env", h.path("new", "app.env"), "--json", h.path(webName+".json")),
	} {
		out, code := lab.Run(h.t, cmd)
		report := readReport(h.t, h.path(host+".json"))
		if code != 0 || report.Summary.Pass < 10 {
			h.t.Errorf("%s: exit code %d, %d checks pass\n%s", host, code, report.Summary.Pass, out)
		}
		h.t.Logf("%s: %+v", host, report.Summary)
	}
}

// TestAStunnelDeploymentGoesOver: a Redis behind stunnel that serves is imported,
// what the import left is done, and the application goes on with its password.
func TestAStunnelDeploymentGoesOver(t *testing.T) {
	t.Parallel()
	h := newHandmade(t)
	h.write("redis.conf", h.dir, `bind 127.0.0.1
port 6379
dir `+h.dir+`
save 900 1
requirepass "`+h.password+`"
maxmemory 100mb
maxmemory-policy allkeys-lru
rename-command FLUSHALL ""
rename-command CONFIG admin-only
rename-command KEYS ""
`)
	redis := lab.Start(t, h.cache.Command("redis-server", h.path("redis.conf")), "eady to accept connections")
	const common = "foreground = yes\npid =\nsyslog = no\n"
	server := h.stunnel(h.cache, "server.conf", common+"[redis]\naccept = 10.77.0.2:6380\nconnect = 127.0.0.1:6379\ncert = "+h.path("host.pem")+"\nkey = "+h.path("host.key")+"\nCAfile = "+h.path("ca.pem")+"\nverify = 2\nsslVersion = TLSv1.2\n")
	client := func(name, accept, connect string) *lab.Process {
		return h.stunnel(h.web, name, common+"[redis]\nclient = yes\naccept = "+accept+"\nconnect = "+connect+"\ncert = "+h.path("host.pem")+"\nkey = "+h.path("host.key")+"\nCAfile = "+h.path("ca.pem")+"\nverify = 2\n")
	}
	old := client("client.conf", "127.0.0.1:6379", "10.77.0.2:6380")
	if got := h.talk(6379, "SET", "where", "behind stunnel"); got != "OK" {
		t.Fatal(got)
	}

	out := h.bring("stunnel", "--redis", h.path("redis.conf"), "--stunnel", h.path("server.conf"), "--client-stunnel", h.path("client.conf"))
	for _, weakness := range []string{
		"is good for 1825 days", "one key on all hosts", "TLS 1.2 could be agreed on", "server.conf:4: CRLfile", "client.conf:4: checkHost", "redis.conf:4: save 900 1",
		"rename-command keys  →  engine.deny: [keys]",
	} {
		if !strings.Contains(out, weakness) {
			t.Errorf("it doesn't name %q in\n%s", weakness, out)
		}
	}

	gateway := h.begin("6381")
	if got := h.talk(6379, "GET", "where"); got != "behind stunnel" { // nothing has changed for the application so far
		t.Fatal(got)
	}
	// The team's certificate opens the old door, and not the new one.
	stale := client("stale.conf", "127.0.0.1:7000", "10.77.0.2:6381")
	if got := h.talk(7000, "PING"); strings.Contains(got, "PONG") {
		t.Fatal("the old certificate gets in")
	}
	within(t, time.Minute, "the refusal to be logged", func() bool { return strings.Contains(gateway.Output(), "refused") })
	stale.Stop()

	began := time.Now()
	old.Stop()
	h.sidecarOf()
	if got := h.talk(6379, "PING"); got != "PONG" {
		t.Fatal(got)
	}
	t.Logf("from the end of stunnel's client to an answer through the sidecar: %v", time.Since(began))
	if got := h.talk(6379, "GET", "where"); got != "" { // the new cache begins empty
		t.Fatal(got)
	}
	if got := h.talk(6379, "SET", "where", "behind the gateway"); got != "OK" {
		t.Fatal(got)
	}
	env := strings.TrimPrefix(strings.TrimSpace(read(t, h.path("new", "app.env"))), "REDIS_URL=")
	if out, _ := lab.Run(t, h.web.Command("redis-cli", "--no-auth-warning", "-u", env, "GET", "where")); strings.TrimSpace(out) != "behind the gateway" {
		t.Errorf("with app.env: %s", out)
	}
	for _, refused := range []string{"KEYS *", "FLUSHALL", "admin-only GET port", "SAVE"} {
		if got := h.talk(6379, strings.Fields(refused)...); !strings.Contains(got, "NOPERM") && !strings.Contains(got, "unknown command") {
			t.Errorf("%s: %s", refused, got)
		}
	}
	right := h.password
	h.password = "another"
	if got := h.talk(6379, "GET", "where"); !strings.Contains(got, "NOAUTH") && !strings.Contains(got, "WRONGPASS") {
		t.Errorf("with another password: %s", got)
	}
	h.password = right
	server.Stop()
	redis.Stop()
	if got := h.talk(6379, "GET", "where"); got != "behind the gateway" {
		t.Error(got)
	}
	h.verified()
}

// digestOf is a password as an aclfile has it.
func digestOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// TestRedissOwnTLSGoesOver: the same for a Redis that speaks TLS itself.
func TestRedissOwnTLSGoesOver(t *testing.T) {
	h := newHandmade(t)
	h.write("redis.conf", h.dir, `bind 10.77.0.2 127.0.0.1
port 0
tls-port 6379
tls-cert-file `+h.path("host.pem")+`
tls-key-file `+h.path("host.key")+`
tls-ca-cert-file `+h.path("ca.pem")+`
tls-auth-clients optional
dir `+h.dir+`
unixsocket `+h.path("old.sock")+`
aclfile `+h.path("users.acl")+`
maxmemory 100mb
maxmemory-policy noeviction
`)
	h.write("users.acl", h.dir, `user default on sanitize-payload ~* &* +@all -@dangerous #`+digestOf(h.password)+"\n")
	lab.Start(t, h.cache.Command("redis-server", h.path("redis.conf")), "eady to accept connections")
	direct := func(args ...string) string {
		cmd := h.web.Command(append([]string{"redis-cli", "-h", "10.77.0.2", "--tls", "--cacert", h.path("ca.pem")}, args...)...)
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+h.password)
		out, _ := lab.Run(t, cmd)
		return strings.TrimSpace(out)
	}
	if got := direct("SET", "a", "b"); got != "OK" {
		t.Fatal(got)
	}
	args := []string{"import", "redis-tls", "--redis", h.path("redis.conf"), "--deployment", "clinic", "--name", cacheName, "--client-name", webName, "--app", webName + "=10.77.0.3", "--bastion", "10.77.0.9", "--out", h.path("new")}
	planned, code := lab.Run(t, exec.Command(lab.Redoubt(t), append(args[:len(args)-2:len(args)-2], "--json")...))
	if code != 0 {
		t.Fatal(planned)
	}
	out, code := lab.Run(t, exec.Command(lab.Redoubt(t), args...))
	for _, want := range []string{"redis.conf:7: tls-auth-clients optional", "A certificate was not needed", "is good for 1825 days", "tls-protocols", "engine.uses: [queues]", "listen: 10.77.0.2:6380"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("exit code %d, no %q in\n%s", code, want, out)
		}
	}
	// Of the password only its digest is known: applications keep what they have.
	if _, err := os.Stat(h.path("new", "app.env")); !os.IsNotExist(err) {
		t.Errorf("app.env: %v", err)
	}
	h.write("sidecar.yaml", h.path("new"), "deployment: clinic\nname: "+webName+"\nunix: {path: "+h.path("new.sock")+"}\ngateways: [{name: "+cacheName+", address: 10.77.0.2:6380}]\ntls: {certificate: tls/tls.pem, ca: tls/ca.crt}\n")
	must(t, os.Mkdir(h.path("new", webName), 0o700))
	must(t, os.Rename(h.path("new", "sidecar.yaml"), h.path("new", webName, "sidecar.yaml")))
	h.begin("6380")
	h.sidecarOf()
	if got := h.talk(6379, "SET", "a", "c"); got != "OK" {
		t.Fatal(got)
	}
	if got := h.talk(6379, "EVAL", "return redis.call('GET', KEYS[1])", "1", "a"); got != "c" { // queues run scripts
		t.Error(got)
	}
	if got := direct("GET", "a"); got != "b" {
		t.Errorf("the old cache meanwhile: %s", got)
	}
	h.everyDifferenceIsSaid(planned)
}

// everyDifferenceIsSaid tries each command on the old cache and on the new one, and
// holds what differs against the plan.
func (h *handmade) everyDifferenceIsSaid(planned string) {
	h.t.Helper()
	var plan struct {
		Findings []struct{ Name, Was, Becomes, Why string }
	}
	must(h.t, json.Unmarshal([]byte(planned), &plan))
	said := func(name, name2 string, whys ...string) bool {
		for _, f := range plan.Findings {
			for _, why := range whys {
				if f.Name == name && strings.Contains(f.Why, why) && slices.ContainsFunc(strings.Fields(f.Was), func(w string) bool { return w == name2 || strings.HasPrefix(name2, w+"|") }) {
					return true
				}
			}
		}
		return false
	}
	opened, ended := 0, 0
	for _, c := range command.All() {
		parent, sub, isSub := strings.Cut(c.Name, "|")
		if c.Container() || c.Since != "" || sub == "help" || slices.Contains([]string{"auth", "hello", "quit", "reset", "shutdown"}, c.Name) {
			continue
		}
		words := []string{parent}
		if isSub {
			words = append(words, sub)
		}
		for n := c.Arity; len(words) < max(n, -n); {
			words = append(words, "1")
		}
		was, is := h.answers("old.sock", words), h.answers("new.sock", words)
		if got := said("user", c.Name, "answered now", "open now"); got != (is && !was) {
			h.t.Errorf("%s: was open %v, is open %v; that it opens is said: %v", c.Name, was, is, got)
		}
		if got := said("commands", c.Name, "They were open"); got != (was && !is) {
			h.t.Errorf("%s: was open %v, is open %v; that it ends is said: %v", c.Name, was, is, got)
		}
		if is && !was {
			opened++
		} else if was && !is {
			ended++
		}
	}
	if opened < 5 || ended < 5 {
		h.t.Errorf("%d commands opened, %d ended", opened, ended)
	}
}

// answers says whether an application gets another answer to a command than that it
// may not. Who waits is allowed to.
func (h *handmade) answers(socket string, words []string) bool {
	h.t.Helper()
	conn, err := net.Dial("unix", h.path(socket))
	must(h.t, err)
	defer conn.Close()
	must(h.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := bufio.NewReader(conn)
	_, err = conn.Write(resp.AppendCommand(nil, []byte("AUTH"), []byte(h.password)))
	must(h.t, err)
	if reply, err := c.ReadString('\n'); reply != "+OK\r\n" {
		h.t.Fatalf("%s: %q %v", socket, reply, err)
	}
	var args [][]byte
	for _, w := range words {
		args = append(args, []byte(w))
	}
	_, err = conn.Write(resp.AppendCommand(nil, args...))
	must(h.t, err)
	reply, asked := "", time.Now()
	for {
		must(h.t, conn.SetDeadline(asked.Add(h.waits())))
		more, err := c.ReadString('\n')
		if reply += more; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			h.t.Fatalf("%s: %v: %v", socket, words, err)
		}
		if err == nil || time.Since(asked) > h.waits() { // the machine may be found busier meanwhile
			break
		}
	}
	return !strings.HasPrefix(reply, "-NOPERM") && !strings.HasPrefix(reply, "-ERR unknown command") && !strings.Contains(reply, " command not allowed. ") // DEBUG, MODULE: by redis.conf
}
