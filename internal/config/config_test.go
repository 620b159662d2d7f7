package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const goodGateway = "deployment: clinic\nname: cache-1\n"

func parseGateway(text string) (*Gateway, error) {
	c := new(Gateway)
	return c, parse("/etc/redoubt/gateway.yaml", []byte(text), c)
}

func parseSidecar(text string) (*Sidecar, error) {
	c := new(Sidecar)
	return c, parse("/etc/redoubt/sidecar.yaml", []byte(text), c)
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	c, err := parseGateway(goodGateway)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "0.0.0.0:6379" || c.Limits.Connections != 4096 || time.Duration(c.Limits.HandshakeTimeout) != 5*time.Second ||
		c.Engine.Memory != 2<<30 || c.Engine.MaxValue != 512<<20 || len(c.Engine.Uses) != 1 || c.Engine.Uses[0] != "cache" ||
		c.TLS.Certificate != "/etc/redoubt/tls/tls.pem" || c.TLS.Key != "" {
		t.Fatalf("%+v", c)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/redoubt")
	c, err := parseGateway(goodGateway + "tls: {certificate: a.crt, key: 'credential:tls.key', ca: /srv/../ca.crt}\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.TLS.Certificate != "/etc/redoubt/a.crt" || c.TLS.Key != "/run/credentials/redoubt/tls.key" || c.TLS.CA != "/ca.crt" {
		t.Fatalf("%+v", c.TLS)
	}
}

// TestErrorsNameFileLineAndCause: each wrong file gives exactly these words.
func TestErrorsNameFileLineAndCause(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for name, c := range map[string]struct {
		parse func(string) error
		text  string
		want  []string
	}{
		"unknown key":      {gw, goodGateway + "listn: 1.2.3.4:1\n", []string{"gateway.yaml:3:", "listn"}},
		"nested unknown":   {gw, goodGateway + "limits:\n  conections: 5\n", []string{"gateway.yaml:4:", "conections"}},
		"wrong type":       {gw, goodGateway + "limits:\n  connections: many\n", []string{"gateway.yaml:4: limits.connections must be a whole number"}},
		"repeated key":     {gw, goodGateway + "name: other\n", []string{"gateway.yaml:3:", "name"}},
		"broken YAML":      {gw, goodGateway + "tls: {certificate: a\n", []string{"gateway.yaml:"}},
		"tab":              {gw, "deployment: clinic\n\tname: x\n", []string{"gateway.yaml:2:"}},
		"two documents":    {gw, goodGateway + "---\nname: b\n", []string{"gateway.yaml: holds more than one document"}},
		"empty":            {gw, "", []string{"gateway.yaml: deployment"}},
		"a list":           {gw, "- a\n", []string{"gateway.yaml:1:"}},
		"bad deployment":   {gw, "deployment: Clinic One\nname: a\n", []string{`gateway.yaml:1: deployment "Clinic One": only a-z`}},
		"no name":          {gw, "deployment: clinic\n", []string{"gateway.yaml: name is empty"}},
		"out of bounds":    {gw, goodGateway + "limits:\n  connections: 0\n", []string{"gateway.yaml:4: limits.connections is 0, must be between 1 and 1000000"}},
		"negative":         {gw, goodGateway + "limits: {handshake_timeout: -5s}\n", []string{"gateway.yaml:3:", "duration"}},
		"bad size":         {gw, goodGateway + "engine: {memory: lots}\n", []string{"gateway.yaml:3:", "engine.memory", "a size"}},
		"value > memory":   {gw, goodGateway + "engine:\n  memory: 64mb\n  max_value: 128mb\n", []string{"gateway.yaml:4: engine.memory is 64mb, in which a largest value of 128mb (engine.max_value, 512mb unless it is set) has no room"}},
		"bad CIDR":         {gw, goodGateway + "admit: [10.0.0.0]\n", []string{"gateway.yaml:3:", "admit[0]", "a network"}},
		"bad address":      {gw, goodGateway + "listen: 6379\n", []string{"gateway.yaml:3: listen", "HOST:PORT"}},
		"no credential":    {gw, goodGateway + "tls: {key: 'credential:k'}\n", []string{"gateway.yaml:3: tls.key", "LoadCredential=k"}},
		"no gateway":       {sc, "deployment: clinic\nname: web-1\n", []string{"gateways is missing"}},
		"gateway's port":   {sc, "deployment: clinic\nname: web-1\ngateways:\n  - name: cache-1\n    address: cache-1\n", []string{"sidecar.yaml:5: gateways[0].address", "HOST:PORT"}},
		"negative uid":     {sc, "deployment: clinic\nname: web-1\ngateways: [{name: c, address: 'c:1'}]\nunix: {allow_uids: [0, -1]}\n", []string{"sidecar.yaml:4: unix.allow_uids[1] -1 is not a user id"}},
		"long socket":      {sc, "deployment: clinic\nname: web-1\ngateways: [{name: c, address: 'c:1'}]\nunix: {path: /" + strings.Repeat("x", 107) + "}\n", []string{"sidecar.yaml:4: unix.path is 108 bytes long"}},
		"long admin":       {gw, goodGateway + "admin: {socket: /" + strings.Repeat("x", 107) + "}\n", []string{"gateway.yaml:3: admin.socket is 108 bytes long"}},
		"several problems": {gw, "deployment: clinic\nname: cache-1\nlisten: x\nlimits:\n  handshakes: 0\n", []string{"gateway.yaml:3: listen", "gateway.yaml:5: limits.handshakes"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.parse(c.text)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %s\nwant %q in it", err, want)
				}
			}
		})
	}
}

func gw(text string) error { _, err := parseGateway(text); return err }
func sc(text string) error { _, err := parseSidecar(text); return err }

// TestErrorsDontRepeatALineThatMayHoldASecret: somebody writes a password
// where only its file's path belongs.
func TestErrorsDontRepeatALineThatMayHoldASecret(t *testing.T) {
	for _, text := range []string{
		goodGateway + "engine:\n  password: hunter2hunter2\n",
		goodGateway + "engine: {password_digests: {secret: hunter2hunter2}}\n",
		goodGateway + "tls: |\n  hunter2hunter2\n",
		"deployment: clinic\nname: x\n  password: hunter2hunter2\n",
	} {
		if err := gw(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLoadNamesAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := LoadSidecar(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}

func TestTheDocumentIsCommittedAndItsExamplesLoad(t *testing.T) {
	const page = "../../docs/configuration.md"
	doc := Document()
	if *update {
		if err := os.WriteFile(page, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(page)
	if err != nil || string(committed) != doc {
		t.Fatalf("%s differs from the schema (%v): run go test ./internal/config -update", page, err)
	}
	blocks := strings.Split(doc, "```")
	if err := gw(strings.TrimPrefix(blocks[len(blocks)-6], "yaml\n")); err != nil {
		t.Errorf("gateway.yaml as documented: %v", err)
	}
	if err := sc(strings.TrimPrefix(blocks[len(blocks)-4], "yaml\n")); err != nil {
		t.Errorf("sidecar.yaml as documented: %v", err)
	}
}

func TestSizesPrintAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"0b", "1b", "1kb", "1536kb", "512mb", "1gb", "16tb"} {
		var s Size
		if _, ok := s.set(text); !ok || s.String() != text {
			t.Errorf("%s: %v, %v", text, s, ok)
		}
	}
	for _, text := range []string{"", "mb", "-1", "1.5gb", "9223372036854775808", "16777216tb", "1 gb x"} {
		var s Size
		if _, ok := s.set(text); ok {
			t.Errorf("%q was read as %d", text, s)
		}
	}
}

// FuzzParse: whatever the file, an error or a configuration within its bounds.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		goodGateway, "", "a: &a [*a]", "? x", goodGateway + "limits: {connections: 99999999999999999999}",
		"deployment: clinic\nname: web-1\ngateways: [{name: c, address: 'c:1'}]\n", "{", "\x00", "- - - -",
		goodGateway + "admit: [10.0.0.0/8, '::/0']\nengine: {uses: [cache, queues], memory: 2gb}\n", "<<: *x", "!!binary a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []schema{new(Gateway), new(Sidecar), new(Deployment)} {
			if err := parse("f.yaml", data, into); err == nil && len(checkBounds(reflect.ValueOf(into).Elem())) != 0 {
				t.Fatalf("accepted out of bounds: %+v", into)
			}
		}
	})
}

const goodDeployment = `deployment: clinic
gateways: [{name: cache-1, address: 10.77.0.2, port: 6379}]
apps: [{name: web-1, address: 10.77.0.3}, {name: workers, network: 10.77.1.0/24}]
bastions: [10.77.0.9]
`

const onAWS = `deployment: clinic
gateways: [{name: cache-1, address: 10.77.9.20}]
apps: [{name: web-1, address: 10.77.0.13}]
bastions: [10.77.0.9]
aws:
  vpc: 10.77.0.0/16
  subnets:
    - {name: cache-a, network: 10.77.9.0/24, zone: a}
    - {name: apps, network: 10.77.0.0/24, zone: b}
`

func TestDeploymentReadsEveryHostOnce(t *testing.T) {
	var d Deployment
	if err := parse("d.yaml", []byte(goodDeployment+"ssh_port: 2222\n"), &d); err != nil {
		t.Fatal(err)
	}
	if d.Gateways[0].Address[0].String() != "10.77.0.2/32" || d.Apps[1].Network[0].String() != "10.77.1.0/24" || d.Bastions[0].String() != "10.77.0.9/32" || d.SSHPort != 2222 || d.Gateways[0].Port != 6379 {
		t.Errorf("%+v", d)
	}
	if err := parse("d.yaml", []byte(onAWS), new(Deployment)); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"deployment: clinic\n":                                            "gateways is missing",
		goodDeployment + "bastion: 1\n":                                   "no key of ours",
		"bastions: [10.0.0.1]\n" + goodDeployment:                         "stands twice",
		strings.Replace(goodDeployment, "web-1", "cache-1", 1):            "another host's name",
		strings.Replace(goodDeployment, "10.77.0.2,", "10.77.0.0/24,", 1): "one address",
		strings.Replace(goodDeployment, "10.77.0.9", "0.0.0.0/0", 1):      "every address",
		strings.Replace(goodDeployment, "10.77.1.0/24", "'::/0'", 1):      "every address",
		strings.Replace(goodDeployment, "10.77.0.9", "jump.example", 1):   "an address or a network",
		strings.Replace(goodDeployment, ", network: 10.77.1.0/24", "", 1): "an address or a network, and not both",
		goodDeployment + "ssh_forwards: [tcp, udp]\n":                     "ssh_forwards[1] is \"udp\"",
		goodDeployment + "engine: {memory: 64mb, max_value: 128mb}\n":     "engine.memory is 64mb, in which a largest value of 128mb",
		strings.Replace(goodDeployment, "port: 6379", "port: 0", 1):       "between 1 and 65535",
		strings.Replace(onAWS, "vpc: 10.77.0.0/16", "vpc: 10.0.0.0/8", 1): "aws.vpc is 10.0.0.0/8, must be IPv4, from a /16 to a /28",
		strings.Replace(onAWS, "  vpc: 10.77.0.0/16\n", "", 1):            "aws.vpc is missing",
		strings.Replace(onAWS, "10.77.9.0/24", "10.78.9.0/24", 1):         "aws.subnets[0].network is 10.78.9.0/24, which is not in the VPC's",
		strings.Replace(onAWS, "10.77.0.0/24", "10.77.9.128/25", 1):       "overlaps cache-a's",
		strings.Replace(onAWS, "{name: apps", "{name: cache-a", 1):        "another subnet's",
		strings.Replace(onAWS, "zone: b", "zone: ''", 1):                  "zone is missing",
		strings.Replace(onAWS, "10.77.9.2", "10.77.8.2", 1):               "needs just one IPv4 address in a subnet",
		strings.Replace(onAWS, "10.77.9.20", "10.77.9.3", 1):              "the first four addresses",
		strings.Replace(onAWS, "10.77.9.20", "10.77.9.255", 1):            "the last one of 10.77.9.0/24",
		strings.Replace(onAWS, "10.77.0.9", "10.77.9.9", 1):               "where 10.77.9.9/32 is too",
	} {
		if err := parse("d.yaml", []byte(text), new(Deployment)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "d.yaml") {
			t.Errorf("%s\ngives %v, want %q", text, err, want)
		}
	}
}

// TestTextIsReadAsTheSame: what Text writes is the configuration that it was written
// from, and repeats no default.
func TestTextIsReadAsTheSame(t *testing.T) {
	gateway := parseAs(t, new(Gateway), goodGateway+`listen: '[::]:7000'
admit: [10.0.0.0/8, fd77::/64]
limits: {handshake_timeout: 3s, connections: 17}
engine: {memory: 64mb, max_value: 8mb, uses: [cache, "queues"], user: 'no'}
exceptions: [{check: RD-441, owner: "me: myself", reason: '#1', until: 2030-01-01}]
renew_from: [{name: cache-2, address: 'cache-2:6379'}]
`)
	text := Text(gateway)
	if again := parseAs(t, new(Gateway), text); !reflect.DeepEqual(gateway, again) {
		t.Errorf("%+v\n%+v\n%s", gateway, again, text)
	}
	for _, usual := range []string{"per_identity", "tls", "allow"} {
		if strings.Contains(text, usual) {
			t.Errorf("%s is as it is by default:\n%s", usual, text)
		}
	}
	if text := Text(NewSidecar()); text != "{}\n" {
		t.Error(text)
	}
}

func parseAs[T schema](t *testing.T, into T, text string) T {
	t.Helper()
	if err := parse("/etc/redoubt/x.yaml", []byte(text), into); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return into
}

// TestConfigOfEachHost: what follows from the deployment loads, and says what it must.
func TestConfigOfEachHost(t *testing.T) {
	d := parseAs(t, new(Deployment), `deployment: clinic
gateways: [{name: cache-1, address: 10.77.0.2, ca: true}, {name: cache-2, address: [10.77.0.12, "fd77::12"], port: 7000}]
apps: [{name: web-1, address: 10.77.0.3}, {name: workers, network: [10.77.1.0/24, "fd77:1::/64"]}]
bastions: [10.77.0.9]
engine: {memory: 4gb, uses: [cache, sessions]}
`)
	for host, want := range map[string]string{
		"cache-1": `deployment: clinic
name: cache-1
listen: 10.77.0.2:6379
admit: [10.77.0.3/32, 10.77.1.0/24, 'fd77:1::/64', 10.77.0.2/32, 10.77.0.12/32, 'fd77::12/128']
pki:
  dir: ca
engine:
  uses: [cache, sessions]
  memory: 4gb
`,
		"cache-2": `deployment: clinic
name: cache-2
listen: '[::]:7000'
admit: [10.77.0.3/32, 10.77.1.0/24, 'fd77:1::/64', 10.77.0.2/32, 10.77.0.12/32, 'fd77::12/128']
renew_from:
  - {name: cache-1, address: '10.77.0.2:6379'}
engine:
  uses: [cache, sessions]
  memory: 4gb
`,
		"workers": `deployment: clinic
name: worker-7
gateways:
  - {name: cache-1, address: '10.77.0.2:6379'}
  - {name: cache-2, address: '10.77.0.12:7000'}
`,
	} {
		name := host
		if host == "workers" {
			name = "worker-7"
		}
		of, err := d.ConfigOf(host, name)
		if err != nil {
			t.Fatal(err)
		}
		got := Text(of)
		if got != want {
			t.Errorf("%s:\n%s", host, got)
		}
		load := gw
		if host == "workers" {
			load = sc
		}
		if err := load(got); err != nil {
			t.Error(err)
		}
	}
}
