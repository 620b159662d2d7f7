package migration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
)

// old is a deployment by hand in a folder.
type old struct {
	t       *testing.T
	options Options
}

func newOld(t *testing.T, redis, server, client string) *old {
	dir := t.TempDir()
	o := Options{Deployment: "clinic", Name: "cache-1", ClientName: "web-1", Now: time.Now(), Redis: write(t, dir, "redis.conf", redis)}
	if server != "" {
		o.Stunnel = write(t, dir, "server.conf", server)
	}
	if client != "" {
		o.ClientStunnel = write(t, dir, "client.conf", client)
	}
	return &old{t, o}
}

func (o *old) plan() *Plan {
	o.t.Helper()
	p, err := Stunnel(o.options)
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

const (
	plainRedis  = "bind 127.0.0.1\nrequirepass a-password-of-the-team-that-is-long\nmaxmemory 1gb\nmaxmemory-policy allkeys-lru\n"
	plainServer = "[redis]\naccept = 10.77.0.2:6380\nconnect = 6379\ncert = none.pem\nCAfile = ca.pem\nverify = 2\n"
	plainClient = "[redis]\nclient = yes\naccept = 127.0.0.1:6379\nconnect = 10.77.0.2:6380\nCAfile = ca.pem\nverify = 2\n"
)

// TestWhatIsWrittenLoads: each file is one that the parts read, with what the old
// ones said.
func TestWhatIsWrittenLoads(t *testing.T) {
	o := newOld(t, plainRedis+"rename-command KEYS \"\"\nmaxclients 300\n", plainServer, plainClient)
	o.options.Apps = []Host{{"web-1", "10.77.0.3"}, {"jobs", "10.77.1.7/24"}}
	o.options.Bastions = []string{"10.77.0.9", "fd77::/64"}
	o.options.Allow = []string{"scripting"}
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := o.plan().Write(dir); err != nil {
		t.Fatal(err)
	}
	g, err := config.LoadGateway(filepath.Join(dir, "cache-1", "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(g.Deployment, g.Name, g.Listen, g.Admit, g.Engine.Uses, g.Engine.Allow, g.Engine.Deny, g.Engine.Memory, g.Engine.MaxValue, g.Engine.MaxClients); got !=
		"cliniccache-110.77.0.2:6381[10.77.0.3/32 10.77.1.0/24 10.77.0.2/32] [cache] [scripting] [keys] 1gb 512mb 300" {
		t.Error(got)
	}
	s, err := config.LoadSidecar(filepath.Join(dir, "web-1", "sidecar.yaml"))
	if err != nil || s.Listen != "127.0.0.1:6379" || fmt.Sprint(s.Gateways) != "[{cache-1 10.77.0.2:6381}]" {
		t.Error(err, s)
	}
	d, err := config.LoadDeployment(filepath.Join(dir, "deployment.yaml"))
	if err != nil || len(d.Apps) != 2 || len(d.Bastions) != 2 || d.Gateways[0].Port != 6381 {
		t.Error(err, d)
	}

	// What no file tells is not invented: the file says what is to be filled in.
	bare := newOld(t, plainRedis, strings.Replace(plainServer, "10.77.0.2:", "", 1), "")
	dir = filepath.Join(t.TempDir(), "out")
	if _, err := bare.plan().Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := config.LoadDeployment(filepath.Join(dir, "deployment.yaml")); err == nil || !strings.Contains(err.Error(), "gateways is missing") || !strings.Contains(err.Error(), "bastions is missing") {
		t.Error(err)
	}
	if g, err := config.LoadGateway(filepath.Join(dir, "cache-1", "gateway.yaml")); err != nil || g.Listen != "0.0.0.0:6381" {
		t.Error(err, g)
	}
}

func TestNothingIsOverwrittenAndACutImportGoesOn(t *testing.T) {
	o := newOld(t, "maxmemory 1gb\n", plainServer, plainClient) // no password: one is made
	dir := filepath.Join(t.TempDir(), "out")
	written := func() (made int) {
		t.Helper()
		list, err := o.plan().Write(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range list {
			if w.New {
				made++
			}
		}
		return made
	}
	if n := written(); n != 5 {
		t.Fatalf("%d files", n)
	}
	env, err := os.ReadFile(filepath.Join(dir, "app.env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app.env", "cache-1/password.sha256", "cache-1/gateway.yaml", "deployment.yaml"} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name != "app.env" { // without it another password is made, which the digest isn't of
			os.Remove(path)
			if n := written(); n == 0 || n > 2 {
				t.Errorf("without %s %d files are made", name, n)
			}
		}
		if err := os.WriteFile(path, append(text, "# mine\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = o.plan().Write(dir)
		if name == "app.env" { // may have other lines
			if err != nil {
				t.Error(err)
			}
		} else if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s was changed: %v", name, err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := written(); n != 0 {
		t.Errorf("at the end %d files are made", n)
	}
	if again, _ := os.ReadFile(filepath.Join(dir, "app.env")); string(again) != string(env) {
		t.Error("the password was made anew")
	}
}

func TestNothingIsWrittenWhileAPersonHasToDecide(t *testing.T) {
	o := newOld(t, plainRedis+"replicaof 10.0.0.1 6379\nnonsense secret\n", plainServer, "")
	dir := filepath.Join(t.TempDir(), "out")
	p := o.plan()
	if _, err := p.Write(dir); err == nil || !p.Blocked() || len(p.Files) != 0 {
		t.Fatalf("%v %v", err, p.Files)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("something is written")
	}
	if text, _ := json.Marshal(p); strings.Contains(string(text), "nonsense secret") || strings.Contains(string(text), "a-password-of-the-team") {
		t.Errorf("a secret is told: %s", text)
	}
	o.options.Without = []string{"REPLICAOF"}
	if p = o.plan(); !p.Blocked() || p.Count(LeftOut) != 1 {
		t.Error(p.Findings)
	}
	o.options.Without = []string{"replicaof", "nonsense"}
	if _, err := o.plan().Write(dir); err != nil {
		t.Error(err)
	}
	o.options.Without = []string{"port"}
	if _, err := Stunnel(o.options); err == nil || !strings.Contains(err.Error(), "--without port") {
		t.Error(err)
	}
}

func TestTheSectionThatIsRedissIsFound(t *testing.T) {
	const web = "[web]\naccept = 443\nconnect = 80\n"
	for _, c := range []struct{ server, service, want string }{
		{web + plainServer, "", ""},
		{web, "", "no section is a server (client = no) and connects to Redis (port 6379 of"},
		{plainServer + strings.Replace(plainServer, "[redis]", "[second]", 1), "", "more than one section"},
		{plainServer + strings.Replace(plainServer, "[redis]", "[second]", 1), "second", ""},
		{plainServer, "third", "no section [third], which --service names: there are \"redis\""},
		{"[redis]\nconnect = 6379\n", "", "has no accept"},
		{"[redis]\naccept = no:port:x\nconnect = 6379\n", "", ":2: accept is no"},
		{"[redis]\naccept = /run/s\nconnect = 6379\n", "", "unix socket"},
	} {
		o := newOld(t, plainRedis, c.server, "")
		o.options.Service = c.service
		_, err := Stunnel(o.options)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, --service %q: %v, want %q", c.server, c.service, err, c.want)
		}
	}
	// Redis may be reached over its socket only.
	o := newOld(t, "port 0\nunixsocket /run/redis.sock\n", "[a]\naccept = 1\nconnect = 6379\n[b]\naccept = 6380\nconnect = /run/redis.sock\ncert = none.pem\n", "")
	p := o.plan()
	j := &journal{findings: p.Findings}
	if j.verdict("[a]") != Dropped || !strings.Contains(p.Files[1].Text, `listen: "0.0.0.0:6381"`) {
		t.Error(j.verdict("[a]"), p.Files[1].Text)
	}
}

// TestWeakChoicesAreNamed, each at its line.
func TestWeakChoicesAreNamed(t *testing.T) {
	for lines, want := range map[string]string{
		"verify = 0": "No certificate was asked for", "verify = 1": "without one", "": "It is not set. No certificate was asked for",
		"verifyChain = yes": "", "verify = 4": "", "verifyPeer = yes": "",
		"PSKsecrets = psk.txt":                               "A secret that hosts share",
		"verify = 2\nsslVersion = TLSv1":                     "older than TLS 1.2",
		"verify = 2\nsslVersionMin = all":                    "TLS 1.2 could be agreed on",
		"verify = 2\nsecurityLevel = 0\nsslVersionMin = all": "Versions older than TLS 1.2 could",
		"verifyChain = yes\nrequireCert = no":                "without one",
		"requireCert = yes":                                  "any would do",
		"verify = 2\nsslVersionMin = TLSv1.2":                "TLS 1.2 could be agreed on",
		"verify = 2\nciphers = ALL:!aNULL":                   "It lets in ALL",
		"verify = 2\nciphers = HIGH:RC4-MD5":                 "It lets in RC4-MD5",
		"verify = 2\noptions = -NO_SSLv3":                    "what OpenSSL would refuse",
		"verify = 2\nsecurityLevel = 0":                      "112 bits",
		"verify = 2\nprotocol = connect":                     "",
		"verify = 2\nexec = /bin/sh":                         "",
		"verify = 2\nlibwrap = yes\nredirect = 7":            "",
	} {
		p := newOld(t, plainRedis, "[redis]\naccept = 6380\nconnect = 6379\ncert = none.pem\nCAfile = ca.pem\n"+lines+"\n", "").plan()
		found := want == ""
		for _, f := range p.Findings {
			found = found || f.Weak && strings.Contains(f.Why, want) && strings.HasSuffix(f.File, "server.conf") && f.Line > 0
		}
		if !found {
			t.Errorf("%q: nothing says %q", lines, want)
		}
	}
	// TLS 1.3 with verified certificates on both ends, on loopback, is no weakness.
	text, _ := json.Marshal(newOld(t, plainRedis, plainServer+"options = NO_TLSv1\noptions = NO_TLSv1_1\n", "").plan().Findings)
	if strings.Contains(string(text), "older than TLS 1.2") || !strings.Contains(string(text), "TLS 1.2 could be agreed on") {
		t.Errorf("with NO_TLSv1 and NO_TLSv1_1: %s", text)
	}
	for lines, want := range map[string]string{"accept = 6379": "Other hosts could reach", "": "Any certificate of the CA passed"} {
		client := plainClient
		if lines != "" {
			client = strings.Replace(client, "accept = 127.0.0.1:6379", lines, 1)
		}
		p := newOld(t, plainRedis, plainServer, client).plan()
		if text, _ := json.Marshal(p.Findings); !strings.Contains(string(text), want) {
			t.Errorf("%q: nothing says %q", lines, want)
		}
	}
}

func TestCertificatesAreJudged(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotBefore: now.AddDate(-6, 0, 0), NotAfter: now.AddDate(-1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	weak := write(t, dir, "weak.pem", "text before\n"+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if got := judgeLeaf(weak, now).text(); !strings.Contains(got, "curve of 224 bits") || !strings.Contains(got, "good for 182") || !strings.Contains(got, "ended on") || !strings.Contains(got, "signs itself") {
		t.Error(got)
	}
	// crypto/x509 no longer makes what is too weak: openssl does.
	rsa := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:1024", "-sha1", "-nodes", "-days", "100", "-subj", "/CN=x", "-keyout", "key.pem", "-out", "rsa.pem")
	rsa.Dir = dir
	if out, err := rsa.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	j := judgeLeaf(filepath.Join(dir, "rsa.pem"), now)
	if got := j.text(); !strings.Contains(got, "RSA key of 1024 bits") || !strings.Contains(got, "SHA1") || strings.Contains(got, "good for") {
		t.Error(got)
	}
	if got := judgeCA(filepath.Join(dir, "rsa.pem"), j.leaf).text(); !strings.Contains(got, "this host's own") {
		t.Error(got)
	}
	for _, path := range []string{filepath.Join(dir, "gone.pem"), filepath.Join(dir, "key.pem"), dir} {
		if j := judgeLeaf(path, now); j.leaf != nil || len(j.weak) > 0 || !strings.Contains(j.text(), "could not be looked at") {
			t.Errorf("%s: %+v", path, j)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readableByOthers(filepath.Join(dir, "key.pem")); !strings.Contains(got, "0644") {
		t.Error(got)
	}
}

func TestRedissOwnTLSIsJudged(t *testing.T) {
	o := newOld(t, "tls-port 6380\nbind 10.77.0.2 -::1\ntls-auth-clients no\ntls-protocols \"TLSv1.2 TLSv1.3\"\ntls-ciphers DEFAULT:RC4\ntls-key-file-pass hidden\ntls-cert-file x\n", "", "")
	p, err := RedisTLS(o.options)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(p)
	for _, want := range []string{"in plain text, around the tunnel", "A certificate was not needed", "older than TLS 1.3", "It lets in RC4", "no list of revoked", "10.77.0.2:6381"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("nothing says %q", want)
		}
	}
	if strings.Contains(string(text), "hidden") {
		t.Error("the key's passphrase is told")
	}
	if _, err := RedisTLS(newOld(t, plainRedis, "", "").options); err == nil || !strings.Contains(err.Error(), "no tls-port") {
		t.Error(err)
	}
}
