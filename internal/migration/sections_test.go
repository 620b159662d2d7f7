package migration

import (
	"strings"
	"testing"
)

// TestSectionsOfBothFilesAreFound, each by a name of its own, and never the other
// end of a tunnel.
func TestSectionsOfBothFilesAreFound(t *testing.T) {
	const (
		certs   = "cert = none.pem\nCAfile = ca.pem\nverify = 2\n"
		web     = "[web]\naccept = 443\nconnect = 80\n" + certs
		out     = "[out]\nclient = yes\naccept = 127.0.0.1:6390\nconnect = 10.9.9.9:6379\n" // the cache host's own way to another Redis
		mail    = "[mail]\nclient = yes\naccept = 127.0.0.1:25\nconnect = 10.77.0.8:465\n"
		toCache = "[to-cache]\nclient = yes\naccept = 127.0.0.1:6379\nconnect = 10.77.0.2:6380\n"
	)
	server := web + out + strings.Replace(plainServer, "[redis]", "[cache]", 1)
	for _, c := range []struct{ server, client, service, clientService, want string }{
		{server, mail + toCache, "", "", ""},
		{server, mail + toCache, "cache", "", ""},
		{server, mail + toCache, "cache", "to-cache", ""},
		{server, mail + toCache + strings.Replace(toCache, "[to-cache]", "[second]", 1), "cache", "", "with --client-service"},
		{server, mail + toCache + strings.Replace(toCache, "[to-cache]", "[second]", 1), "cache", "to-cache", ""},
		{server, mail, "cache", "", "no section is a client (client = yes) of port 6380: name it with --client-service"},
		{server, toCache, "out", "", "--service names section [out], which is the other end"},
		{server, web + toCache, "cache", "web", "--client-service names section [web], which is the other end"},
		{server, toCache, "cache", "none", "no section [none], which --client-service names"},
		{plainServer, strings.Replace(toCache, "[to-cache]", "[redis]", 1) + mail, "redis", "", ""},
		{strings.Replace(plainServer, "connect = 6379", "connect = 10.9.9.9:6379", 1), "", "", "", "no section is a server"},
		{plainServer, strings.Replace(toCache, "10.77.0.2", "${REDIS_HOST}", 1), "", "", "client.conf:4: connect has a placeholder"},
		{plainServer, strings.Replace(toCache, "10.77.0.2", "{{ redis_host }}", 1), "", "", "client.conf:4: connect has a placeholder"},
		{plainServer, strings.Replace(toCache, "10.77.0.2", "$REDIS_HOST", 1), "redis", "to-cache", "client.conf:4: connect has neither an address nor a host's name"},
		{plainServer, strings.Replace(toCache, "10.77.0.2", "cache_1.clinic.example", 1), "", "", ""},
	} {
		o := newOld(t, plainRedis, c.server, c.client)
		o.options.Service, o.options.ClientService = c.service, c.clientService
		p, err := Stunnel(o.options)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("--service %q --client-service %q: %v, want %q\n%s%s", c.service, c.clientService, err, c.want, c.server, c.client)
		}
		if err == nil && c.client != "" && p.sidecar != "127.0.0.1:6379" {
			t.Errorf("applications find their cache at %s", p.sidecar)
		}
	}
}

func TestRedissSocketIsTheSameByItsOtherName(t *testing.T) {
	for _, c := range [][2]string{{"/run/redis.sock", "/var/run/redis.sock"}, {"/var/run/redis/r.sock", "/run//redis/./r.sock"}} {
		for _, pair := range [][2]string{c, {c[1], c[0]}} {
			o := newOld(t, "port 0\nunixsocket "+pair[0]+"\nrequirepass a-password-of-the-team-that-is-long\n", strings.Replace(plainServer, "connect = 6379", "connect = "+pair[1], 1), "")
			if p := o.plan(); p.Blocked() {
				t.Errorf("%v: %+v", pair, p.Findings)
			}
		}
	}
	o := newOld(t, "port 0\nunixsocket /run/redis.sock\n", strings.Replace(plainServer, "connect = 6379", "connect = /run/other.sock", 1), "")
	if _, err := Stunnel(o.options); err == nil || !strings.Contains(err.Error(), "/run/redis.sock") {
		t.Errorf("another socket: %v", err)
	}
}

// TestTheGatewaysPortIsFree of all that the files know to be used on its host.
func TestTheGatewaysPortIsFree(t *testing.T) {
	const more = "[a]\nclient = yes\naccept = 127.0.0.1:6381\nconnect = 10.9.9.9:6383\n[b]\naccept = 9000\nconnect = 127.0.0.1:6382\n[c]\naccept = 6384\naccept = 6385\nconnect = 1\n"
	o := newOld(t, plainRedis, plainServer+more, "")
	if p := o.plan(); !strings.Contains(p.Files[1].Text, `"10.77.0.2:6383"`) {
		t.Error(p.Files[1].Text)
	}
	o.options.Listen = "10.77.0.2:6385"
	if _, err := Stunnel(o.options); err == nil || !strings.Contains(err.Error(), "use port 6385 already") {
		t.Error(err)
	}
}

// TestEachEndHasItsOwnReasons: an option means one thing at a client and another at a
// server.
func TestEachEndHasItsOwnReasons(t *testing.T) {
	for line, want := range map[string]Verdict{"sni = cache.example": Dropped, "libwrap = yes": Changed, "transparent = none": Dropped, "transparent = source": Refused, "accept = 127.0.0.1:7000": Refused} {
		o := newOld(t, plainRedis, plainServer, plainClient+line+"\n")
		p := o.plan()
		found := false
		for _, f := range p.Findings {
			if strings.HasSuffix(f.File, "client.conf") && f.Line == strings.Count(plainClient, "\n")+1 {
				found = true
				if f.Verdict != want || strings.Contains(f.Why, "share the port") || strings.Contains(f.Why, "--app") {
					t.Errorf("%s: %s, %s", line, f.Verdict, f.Why)
				}
			}
		}
		if !found {
			t.Errorf("%s: nothing is said", line)
		}
	}
}

// TestTheStepsAreForTheHostsThatWereNamed, and for the place that the sidecar has.
func TestTheStepsAreForTheHostsThatWereNamed(t *testing.T) {
	told := func(o *old) string {
		var text strings.Builder
		for _, s := range o.plan().Steps {
			text.WriteString(s.What + "\n" + strings.Join(s.Commands, "\n") + "\n")
		}
		return text.String()
	}
	o := newOld(t, plainRedis, plainServer, strings.Replace(plainClient, "127.0.0.1:6379", "127.0.0.1:6390", 1))
	o.options.ClientName = ""
	o.options.Apps = []Host{{"jobs", "10.77.1.0/24"}, {"relay1", "10.77.0.3"}, {"relay2", "10.77.0.4"}}
	text := told(o)
	for _, want := range []string{"--name relay1 ", "--name relay2 ", "--name jobs-1 ", "ListenStream=127.0.0.1:6390", "redoubt-sidecar.socket"} {
		if !strings.Contains(text, want) {
			t.Errorf("no step says %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "web-1") || o.plan().Files[2].Path != "relay1/sidecar.yaml" {
		t.Errorf("a host that nobody named:\n%s", text)
	}
	o = newOld(t, plainRedis, plainServer, plainClient)
	o.options.ClientName = ""
	if text = told(o); !strings.Contains(text, "--name web-1 ") || strings.Contains(text, "ListenStream") {
		t.Error(text)
	}
}
