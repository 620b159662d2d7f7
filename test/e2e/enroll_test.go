package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// fleet is a cache host with the CA, whose certificates live for seconds, and
// application hosts that join it.
type fleet struct {
	*site
	gatewayLog *lab.Process
}

func newFleet(t *testing.T, life string) *fleet {
	t.Helper()
	n := lab.NewNetwork(t)
	f := &fleet{site: &site{t: t, net: n, dir: t.TempDir(), cache: n.Host("cache-1", "10.77.0.2/24")}}
	must(t, os.WriteFile(f.path("passphrase"), []byte("correct horse battery\n"), 0o600))
	f.redoubt("pki", "init", "--deployment", "clinic", "--dir", f.path("ca"), "--passphrase-file", f.path("passphrase"))
	f.redoubt("secret", "new", "--out", f.path("secret"))
	must(t, os.Mkdir(f.path("cache-1"), 0o700))
	f.write("gateway.yaml", f.path("cache-1"), `deployment: clinic
name: cache-1
listen: 10.77.0.2:6379
tls: {certificate: tls/tls.pem}
pki: {dir: ../ca, passphrase: ../passphrase, life: `+life+`}
engine: {password_digests: ../secret/password.sha256, memory: 64mb, max_value: 32mb}
`)
	f.gatewayLog = f.gateway()
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token makes one where the CA lies.
func (f *fleet) token(args ...string) string {
	f.t.Helper()
	cmd := exec.Command(lab.Redoubt(f.t), append([]string{"token", "create", "--dir", f.path("ca")}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("token create: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// join makes a host and has it join, as its operator would.
func (f *fleet) join(name, address string) *lab.Host {
	f.t.Helper()
	h := f.net.Host(name, address)
	token := f.token("--name", name, "--gateway", "cache-1=10.77.0.2:6379")
	cmd := h.Command(lab.Redoubt(f.t), "join", "--token-file", "-", "--dir", f.path(name))
	cmd.Stdin = strings.NewReader(token)
	if out, code := lab.Run(f.t, cmd); code != 0 {
		f.t.Fatalf("join: exit code %d\n%s", code, out)
	}
	// Joining a second time changes nothing and says what to do.
	cmd = h.Command(lab.Redoubt(f.t), "join", token, "--dir", f.path(name))
	if out, code := lab.Run(f.t, cmd); code != 1 || !strings.Contains(out, "has an identity already: spiffe://clinic/app/"+name) || !strings.Contains(out, "move the file away") {
		f.t.Fatalf("joining twice: exit code %d\n%s", code, out)
	}
	return h
}

// appHost is an application host with its sidecar and an application that never
// stops asking.
type appHost struct {
	sidecar *lab.Process
	load    *load
}

func (f *fleet) app(name, address string) *appHost {
	f.t.Helper()
	h := f.join(name, address)
	sidecar := lab.Start(f.t, h.Command(lab.Redoubt(f.t), "sidecar", "--config", f.path(name, "sidecar.yaml"), "--log-format", "text"), "msg=ready")
	return &appHost{sidecar, f.startLoad(h)}
}

// load is a program that asks over four connections, checks each answer, and
// never connects anew: a single failure ends a connection for good.
type load struct {
	t     *testing.T
	stdin io.Closer
	done  chan struct{}
	mu    sync.Mutex
	out   bytes.Buffer
}

const loadProgram = `
import os, socket, sys, threading, time
password, stop, total, lock = sys.argv[1], threading.Event(), [0, 0], threading.Lock()
def encode(*args):
    return b"".join([b"*%d\r\n" % len(args)] + [b"$%d\r\n%s\r\n" % (len(a), a) for a in map(str.encode, args)])
def work(i):
    n = 0
    try:
        s = socket.create_connection(("127.0.0.1", 6379)); s.settimeout(60); f = s.makefile("rb")
        s.sendall(encode("AUTH", password))
        if f.readline() != b"+OK\r\n": raise Exception("no AUTH")
        os.write(1, b"up\n")
        while not stop.is_set():
            n += 1
            s.sendall(encode("INCR", "n:%s:%d" % (socket.gethostname(), i)) + encode("GET", "no"))
            got = f.readline() + f.readline()
            if not got.startswith(b":") or not got.endswith(b"$-1\r\n"): raise Exception(got)
            time.sleep(0.01) # it is to see what fails, not to fill the machine
    except Exception as e:
        os.write(1, ("failed %f %r\n" % (time.time(), e)).encode())
        with lock: total[1] += 1
    with lock: total[0] += n
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for t in threads: t.start()
sys.stdin.read(); stop.set()
for t in threads: t.join()
print("total", total[0], "failures", total[1], flush=True)
`

func (f *fleet) startLoad(on *lab.Host) *load {
	f.t.Helper()
	env := strings.TrimSpace(read(f.t, f.path("secret", "app.env")))
	password := env[strings.Index(env, "://:")+4 : strings.LastIndex(env, "@")]
	cmd := on.Command("/usr/bin/python3", "-u", "-c", loadProgram, password)
	l := &load{t: f.t, done: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	must(f.t, err)
	l.stdin = stdin
	cmd.Stdout, cmd.Stderr = l, l
	must(f.t, cmd.Start())
	go func() { defer close(l.done); cmd.Wait() }()
	f.t.Cleanup(func() { stdin.Close(); <-l.done })
	within(f.t, time.Minute, "the load to begin", func() bool {
		if strings.Contains(l.output(), "failed") {
			f.t.Fatalf("the load can't begin: %s\n%s", l.output(), f.gatewayLog.Output())
		}
		return strings.Count(l.output(), "up\n") == 4
	})
	return l
}

func (l *load) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *load) output() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// stop ends the load and returns how much was asked and how many connections
// failed.
func (l *load) stop() (total, failures int) {
	l.t.Helper()
	l.stdin.Close()
	<-l.done
	if _, err := fmt.Sscanf(l.output()[strings.Index(l.output(), "total "):], "total %d failures %d", &total, &failures); err != nil {
		l.t.Fatalf("%v: %s", err, l.output())
	}
	return total, failures
}

var failedAt = regexp.MustCompile(`failed ([0-9.]+)`)

// TestCertificatesLookAfterThemselves: three hosts join and work while their
// certificates are renewed and the CA's root is replaced; then one is revoked.
func TestCertificatesLookAfterThemselves(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "20s") // a host that a busy machine keeps from renewing for as long is out for good
	apps := []*appHost{f.app("web-1", "10.77.0.3/24"), f.app("web-2", "10.77.0.4/24"), f.app("web-3", "10.77.0.5/24")}
	for i, a := range apps {
		within(t, 3*time.Minute, "three renewals", func() bool { return strings.Count(a.sidecar.Output(), "a new certificate is in use") >= 3 })
		if out := a.load.output(); strings.Contains(out, "failed") {
			t.Fatalf("web-%d: while certificates were renewed: %s\n%s", i+1, out, f.gatewayLog.Output())
		}
	}

	ca := func(args ...string) (string, int) {
		return lab.Run(t, exec.Command(lab.Redoubt(t), append(append([]string{"pki"}, args...), "--dir", f.path("ca"), "--passphrase-file", f.path("passphrase"))...))
	}
	before := read(t, f.path("ca", "ca.crt"))
	for _, step := range []string{"start", "switch", "finish"} {
		if step != "start" {
			within(t, 3*time.Minute, "the hosts to be ready for rotate "+step, func() bool {
				out, code := lab.Run(t, exec.Command(lab.Redoubt(t), "pki", "rotate", "status", "--dir", f.path("ca")))
				if code > 1 {
					t.Fatalf("rotate status: exit code %d\n%s", code, out)
				}
				return code == 0
			})
			// A certificate that is signed and on its way counts as the host's (decision 53).
			for i, a := range apps {
				renewed := fmt.Sprintf(`"certificate renewed" process=signer identity=spiffe://clinic/app/web-%d `, i+1)
				within(t, time.Minute, "the host to have what was signed for it", func() bool {
					return strings.Count(a.sidecar.Output(), "a new certificate is in use") >= strings.Count(f.gatewayLog.Output(), renewed)
				})
			}
		}
		within(t, 3*time.Minute, "the hosts to be ready for rotate "+step, func() bool {
			out, code := ca("rotate", step)
			if code != 0 && !strings.Contains(out, "would be cut off") {
				t.Fatalf("rotate %s: exit code %d\n%s", step, code, out)
			}
			return code == 0
		})
	}
	for i, a := range apps {
		within(t, 3*time.Minute, "the old root to be forgotten", func() bool {
			return read(t, f.path(fmt.Sprint("web-", i+1), "tls", "ca.crt")) == read(t, f.path("ca", "ca.crt"))
		})
		if out := a.load.output(); strings.Contains(out, "failed") {
			t.Errorf("web-%d: while the root was replaced: %s\n%s\n%s", i+1, out, a.sidecar.Output(), f.gatewayLog.Output())
		}
	}
	if after := read(t, f.path("ca", "ca.crt")); after == before {
		t.Error("the root is the old one")
	}

	bound := lab.Promised(t, time.Second)
	began := time.Now()
	if out, code := ca("revoke", "web-3"); code != 0 {
		t.Fatalf("revoke: %d\n%s", code, out)
	}
	revoked := time.Now()
	within(t, time.Minute, "the revoked host to be cut off", func() bool { return strings.Contains(apps[2].load.output(), "failed") })
	at, err := strconv.ParseFloat(failedAt.FindStringSubmatch(apps[2].load.output())[1], 64)
	must(t, err)
	if cut, most := time.Unix(0, int64(at*1e9)), bound(); cut.Before(began) || cut.After(revoked.Add(most)) {
		t.Errorf("cut %s after the command had ended, more than %s", cut.Sub(revoked), most)
	}
	within(t, time.Minute, "the refusal of a new connection", func() bool {
		return strings.Contains(f.gatewayLog.Output(), "the certificate of spiffe://clinic/app/web-3 is revoked")
	})
	for i, a := range apps[:2] {
		total, failures := a.load.stop()
		if failures != 0 || total < 1000 {
			t.Errorf("web-%d: %d of %d requests failed: %s", i+1, failures, total, a.load.output())
		}
		t.Logf("web-%d: %d requests, none failed", i+1, total)
	}
}

// TestTwoGatewaysWithOneCA: the second one has no CA, joins like every host,
// renews at the first, and obeys its revocations.
func TestTwoGatewaysWithOneCA(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "20s")
	second := f.net.Host("cache-2", "10.77.0.9/24")
	cmd := second.Command(lab.Redoubt(t), "join", "--token-file", "-", "--dir", f.path("cache-2"))
	cmd.Stdin = strings.NewReader(f.token("--role", "gateway", "--name", "cache-2", "--gateway", "cache-1=10.77.0.2:6379"))
	if out, code := lab.Run(t, cmd); code != 0 {
		t.Fatalf("join: exit code %d\n%s", code, out)
	}
	config := f.path("cache-2", "gateway.yaml")
	f.write("gateway.yaml", filepath.Dir(config), read(t, config)+`listen: 10.77.0.9:6379
engine: {password_digests: ../secret/password.sha256, memory: 64mb, max_value: 32mb}
`)
	gateway2 := lab.Start(t, second.Command(lab.Redoubt(t), "gateway", "--config", config, "--log-format", "text"), "msg=ready")

	h := f.join("web-1", "10.77.0.3/24")
	sidecar := f.path("web-1", "sidecar.yaml")
	f.write("sidecar.yaml", filepath.Dir(sidecar), strings.Replace(read(t, sidecar), "gateways:\n", "gateways:\n  - {name: cache-2, address: \"10.77.0.9:6379\"}\n", 1))
	app := lab.Start(t, h.Command(lab.Redoubt(t), "sidecar", "--config", sidecar, "--log-format", "text"), "msg=ready")
	load := f.startLoad(h)
	within(t, 3*time.Minute, "the second gateway to renew twice", func() bool { return strings.Count(gateway2.Output(), "a new certificate is in use") >= 2 })
	within(t, 3*time.Minute, "the application host to renew twice", func() bool { return strings.Count(app.Output(), "a new certificate is in use") >= 2 })
	if out := load.output(); strings.Contains(out, "failed") {
		t.Fatalf("%s\n%s", out, gateway2.Output())
	}
	bound := lab.Promised(t, 1500*time.Millisecond)
	f.redoubt("pki", "revoke", "web-1", "--dir", f.path("ca"), "--passphrase-file", f.path("passphrase"))
	revoked := time.Now()
	within(t, time.Minute, "the revoked host to be cut off", func() bool { return strings.Contains(load.output(), "failed") })
	at, err := strconv.ParseFloat(failedAt.FindStringSubmatch(load.output())[1], 64)
	must(t, err)
	if cut, most := time.Unix(0, int64(at*1e9)), bound(); cut.After(revoked.Add(most)) {
		t.Errorf("cut at the gateway without the CA %s after the command had ended, more than %s", cut.Sub(revoked), most)
	}
	within(t, time.Minute, "the log to say that it was cut for that", func() bool { return strings.Contains(gateway2.Output(), "is revoked") })
}

// TestADeploymentOfUpIsJoinedAndRevoked does on one machine what real hosts do.
func TestADeploymentOfUpIsJoinedAndRevoked(t *testing.T) {
	t.Parallel()
	d := lab.Up(t, "--log-level", "info")
	redoubt := lab.Redoubt(t)
	out, err := exec.Command(redoubt, "token", "create", "--dir", d.Dir, "--name", "web-2").Output()
	must(t, err)
	dir := filepath.Join(t.TempDir(), "web-2")
	if out, code := lab.Run(t, exec.Command(redoubt, "join", strings.TrimSpace(string(out)), "--dir", dir)); code != 0 {
		t.Fatalf("join: %d\n%s", code, out)
	}
	config := filepath.Join(dir, "sidecar.yaml")
	must(t, os.WriteFile(config, []byte(read(t, config)+"listen: 127.0.0.1:0\n"), 0o600))
	sidecar := lab.Start(t, exec.Command(redoubt, "sidecar", "--config", config, "--log-format", "text"), "msg=ready")
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(sidecar.Output())[1]
	second := lab.Connect(t, address, d.Password())
	second.Want("+PONG\r\n", "PING")
	first := d.Connect(t)
	if out, code := lab.Run(t, exec.Command(redoubt, "pki", "revoke", "web-2", "--dir", d.Dir)); code != 0 {
		t.Fatalf("revoke: %d\n%s", code, out)
	}
	soon(t, 2*time.Second, "the revoked host to be cut off", func() bool { return strings.Contains(d.Output(), "is revoked") })
	if got := second.Do("PING"); !strings.HasPrefix(got, "-") {
		t.Errorf("a revoked host is answered %q", got)
	}
	first.Want("+PONG\r\n", "PING")
	if out, code := lab.Run(t, exec.Command(redoubt, "token", "list", "--json", "--dir", d.Dir)); code != 0 || !strings.Contains(out, `"state": "used"`) {
		t.Errorf("%d: %s", code, out)
	}
}

// TestARevokedGatewayIsLeft: its certificate and key are in other hands, and
// sidecars turn away from it at once, also with what is up.
func TestARevokedGatewayIsLeft(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "1h")
	second := f.net.Host("cache-2", "10.77.0.9/24")
	cmd := second.Command(lab.Redoubt(t), "join", "--token-file", "-", "--dir", f.path("cache-2"))
	cmd.Stdin = strings.NewReader(f.token("--role", "gateway", "--name", "cache-2", "--gateway", "cache-1=10.77.0.2:6379"))
	if out, code := lab.Run(t, cmd); code != 0 {
		t.Fatalf("join: exit code %d\n%s", code, out)
	}
	config := f.path("cache-2", "gateway.yaml")
	f.write("gateway.yaml", filepath.Dir(config), read(t, config)+`listen: 10.77.0.9:6379
engine: {password_digests: ../secret/password.sha256, memory: 64mb, max_value: 32mb}
`)
	gateway2 := lab.Start(t, second.Command(lab.Redoubt(t), "gateway", "--config", config, "--log-format", "text"), "msg=ready")
	f.web = f.join("web-1", "10.77.0.3/24")
	sidecar := f.path("web-1", "sidecar.yaml")
	f.write("sidecar.yaml", filepath.Dir(sidecar), strings.Replace(read(t, sidecar), "gateways:\n", "gateways:\n  - {name: cache-2, address: \"10.77.0.9:6379\"}\n", 1))
	app := lab.Start(t, f.web.Command(lab.Redoubt(t), "sidecar", "--config", sidecar, "--log-format", "text"), "msg=ready")
	if got := f.site.app("SET", "where", "cache-2"); got != "OK" { // a shared lane
		t.Fatal(got)
	}
	env := strings.TrimSpace(read(t, f.path("secret", "app.env")))
	lab.Start(t, f.web.Command("redis-cli", "--no-auth-warning", "-u", strings.TrimPrefix(env, "REDIS_URL="), "SUBSCRIBE", "news"), "subscribe") // a lane of its own
	f.redoubt("pki", "revoke", "cache-2", "--role", "gateway", "--dir", f.path("ca"), "--passphrase-file", f.path("passphrase"))
	soon(t, 1500*time.Millisecond, "both lanes to be cut", func() bool {
		log := gateway2.Output()
		return strings.Contains(app.Output(), "the gateway's certificate is revoked") && strings.Count(log, "connection closed") == strings.Count(log, "connection opened")
	})
	within(t, time.Minute, "the other gateway to be used", func() bool {
		out, _ := lab.Run(t, f.web.Command("redis-cli", "--no-auth-warning", "-u", strings.TrimPrefix(env, "REDIS_URL="), "GET", "where"))
		return strings.TrimSpace(out) == "" // not there: the data is the other gateway's
	})
	within(t, time.Minute, "the other gateway's log to tell of who came", func() bool { return strings.Contains(f.gatewayLog.Output(), "connection opened") })
}
