package migration

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAStunnelConfigurationIsReadAsStunnelReadsIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "conf.d/00-global.conf", "Debug = 5\n")
	write(t, dir, "conf.d/10-redis.conf", "[redis]\nACCEPT = 6380\nconnect= 6379\ncheckHost = a\ncheckHost = b\n")
	write(t, dir, "conf.d/.hidden", "[no]\n")
	write(t, dir, "conf.d/sub/none.conf", "[no]\n")
	path := write(t, dir, "stunnel.conf", "\ufeff; a comment\n# another\n\n  sslVersion = TLSv1.2 \r\nverify=1\ninclude = conf.d\nverify = 2\n[ web ]\naccept = 443\n")
	conf, err := readStunnel(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(conf.services) != 2 || conf.services[0].name != "redis" || conf.services[1].name != "web" {
		t.Fatalf("%+v", conf.services)
	}
	redis, web := conf.services[0].options, conf.services[1].options
	for _, c := range []struct {
		list       options
		name, want string
	}{
		{redis, "accept", "6380"}, {redis, "sslversion", "TLSv1.2"}, {redis, "verify", "2"}, {redis, "checkHost", "b"}, {redis, "debug", "5"},
		{web, "verify", "1"}, {web, "accept", "443"},
	} {
		if o, _ := c.list.last(c.name); o.value != c.want {
			t.Errorf("%s is %q, want %q", c.name, o.value, c.want)
		}
	}
	if n := len(redis.all("checkhost")); n != 2 {
		t.Errorf("%d names are checked, want 2", n)
	}
	for text, want := range map[string]string{
		"accept = 1\n":             "no section",
		"[redis\naccept = 1\n":     ":1: is no section",
		"[]\n":                     ":1: is no section",
		"[redis]\nnonsense\n":      ":2: is neither",
		"[redis]\n= x\n":           ":2: is neither",
		"include = nowhere\n[r]\n": ":1: include: ",

		strings.Repeat("debug = 1\n", 600) + strings.Repeat("[r]\n", 600): ":1001: the configuration has more than 1000 options",
	} {
		path := write(t, dir, "bad.conf", text)
		if _, err := readStunnel(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	write(t, dir, "loop/a.conf", "include = "+filepath.Join(dir, "loop")+"\n")
	if _, err := readStunnel(filepath.Join(dir, "loop/a.conf")); err == nil || !strings.Contains(err.Error(), "includes itself") {
		t.Error(err)
	}
}

func TestEndpoints(t *testing.T) {
	for text, want := range map[string]string{
		"6380": ":6380", "10.77.0.2:6380": "10.77.0.2:6380", ":::6380": "[::]:6380", "[fd77::2]:6380": "[fd77::2]:6380",
		"cache.example:6380": "cache.example:6380", "https": ":443", "/run/redis.sock": "/run/redis.sock",
		"": "", "0": "", "65536": "", "a:b:c": "", "10.77.0.2": "", "-1": "",
	} {
		e, err := parseEndpoint(text)
		if (err == nil) != (want != "") || err == nil && e.String() != want {
			t.Errorf("%q is %v, %v; want %q", text, e, err, want)
		}
	}
}

// FuzzStunnelConf: each line of a section has a finding or there is an error, and
// a secret is in neither.
func FuzzStunnelConf(f *testing.F) {
	for _, seed := range []string{
		"verify = 2\nsslVersion = all\n", "ciphers = ALL:!aNULL:RC4\noptions = -NO_SSLv3\n", "[other]\naccept = 1\nconnect = 2\n", "; c\n# c\n\n[x]\nclient = yes\nconnect = 6380\n",
		"PSKsecrets = psk.txt\nverifyChain = yes\n", "cert = c.pem\nkey = k.pem\nCAfile = c.pem\n", "exec = /bin/sh\nnonsense = 1\n", "verify = 2\nverify = 1\nsecurityLevel = 0\n", "\ufeffaccept=1\r\n", "connect = /run/redis.sock\nconnect = a:b\n",
		"cert = a\nCAfile = b\nverifyChain = yes\nrequireCert = no\n", "verify = 2 # x\n", "cert = a\noptions = NO_TLSv1\noptions = -NO_TLSv1\nciphers = DEFAULT@SECLEVEL=0\n", "cert = a\nsslVersion =\nverify =\nsecurityLevel =\n", "cert = a\nciphers = @SECLEVEL=\n", "connect = ${X}:1\nforeground = yes\n",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return // paths of this machine
		}
		const secret = "Xq7secretZ"
		lines := 4
		path := write(t, dir, "s.conf", "[redis]\naccept = 6380\nconnect = 6379\nticketKeySecret = "+secret+"\n"+text+"\nprotocolPassword = "+secret+"\nunheardOf = "+secret+"\n")
		conf, err := readStunnel(path)
		if err == nil {
			e := &end{journal: &journal{}, service: conf.services[0], now: time.Unix(1e9, 0)}
			_, err = e.read(conf)
			told, _ := json.Marshal(e.findings)
			if strings.Contains(string(told), secret) {
				t.Fatalf("a secret is told: %s", told)
			}
			for i, line := range strings.Split(text, "\n") {
				o, section, parseErr := parseStunnelLine(place{}, line)
				if section != "" {
					break
				}
				found := o.name == "" || parseErr != nil
				for _, f := range e.findings {
					found = found || f.Line == i+1+lines
				}
				if !found && err == nil {
					t.Fatalf("line %d was passed over: %q", i+1, line)
				}
			}
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Fatal("the error tells a secret")
		}
	})
}
