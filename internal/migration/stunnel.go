package migration

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Stunnel plans what becomes of a Redis behind stunnel.
func Stunnel(o Options) (*Plan, error) {
	b := &builder{options: o, journal: &journal{}}
	srv, err := b.readServer(o)
	if err != nil {
		return nil, err
	}
	b.server = srv
	conf, err := readStunnel(o.Stunnel)
	if err != nil {
		return nil, err
	}
	door, err := conf.serverFor(srv, o.Service)
	if err != nil {
		return nil, err
	}
	e := &end{journal: b.journal, service: door, now: o.Now}
	if b.door, err = e.read(conf); err != nil {
		return nil, err
	}
	if o.ClientStunnel != "" {
		if err := b.readClient(e); err != nil {
			return nil, err
		}
	}
	return b.plan()
}

// readClient reads an application host's stunnel.
func (b *builder) readClient(server *end) error {
	conf, err := readStunnel(b.options.ClientStunnel)
	if err != nil {
		return err
	}
	svc, err := conf.clientFor(b.door, b.options.Service)
	if err != nil {
		return err
	}
	client := &end{journal: b.journal, service: svc, now: b.options.Now, client: true}
	at, err := client.read(conf)
	if err != nil {
		return err
	}
	b.local = &at
	b.localAt, _ = svc.options.last("accept")
	if client.leaf != nil && server.leaf != nil && client.leaf.Equal(server.leaf) {
		o, _ := svc.options.last("cert")
		b.add(Finding{File: o.file, Line: o.line, Name: "cert", Was: o.value, Verdict: Tightened, Weak: true,
			Why: "It is the cache host's certificate too: one key on all hosts. Who gets it from one host is every host. " + ownCertificates})
	}
	to, err := connectOf(svc)
	if err != nil {
		return err
	}
	b.remote = to[0]
	for _, more := range to[1:] {
		b.add(Finding{File: svc.file, Line: svc.line, Name: "connect", Was: more.String(), Verdict: Refused,
			Why: "A second cache host: import it on its own, then name both gateways in sidecar.yaml, in order."})
	}
	return nil
}

// serverFor finds the section that is Redis's: the one that connects to it.
func (c *stunnelConf) serverFor(srv *server, name string) (service, error) {
	return c.choose(name, fmt.Sprintf("connects to Redis (port %d of %s)", srv.port, srv.file), func(s service) bool {
		if s.options.yes("client") {
			return false
		}
		for _, to := range s.options.all("connect") {
			if to.value == srv.socket && srv.socket != "" {
				return true
			}
			if p, err := parseEndpoint(to.value); err == nil && p.port != 0 && p.port == srv.port {
				return true
			}
		}
		return false
	})
}

// clientFor finds the section through which applications reach the cache.
func (c *stunnelConf) clientFor(door endpoint, name string) (service, error) {
	only := 0
	for _, s := range c.services {
		if s.options.yes("client") {
			only++
		}
	}
	return c.choose(name, fmt.Sprintf("is a client (client = yes) of port %d", door.port), func(s service) bool {
		if !s.options.yes("client") {
			return false
		}
		to, err := connectOf(s)
		return only == 1 || err == nil && to[0].port == door.port
	})
}

// choose finds the one service, by its name or by what it does.
func (c *stunnelConf) choose(name, what string, fits func(service) bool) (service, error) {
	var found, names []string
	var chosen service
	for _, s := range c.services {
		names = append(names, strconv.Quote(s.name))
		if s.name == name || name == "" && fits(s) {
			found, chosen = append(found, strconv.Quote(s.name)), s
		}
	}
	file := c.services[0].file
	switch {
	case len(found) == 1:
		return chosen, nil
	case len(found) > 1:
		return chosen, fmt.Errorf("%s: more than one section %s (%s): name the one that is meant with --service", file, what, strings.Join(found, ", "))
	case name != "":
		return chosen, fmt.Errorf("%s has no section [%s]: there are %s", file, name, strings.Join(names, ", "))
	}
	return chosen, fmt.Errorf("%s: no section %s: name it with --service (there are %s)", file, what, strings.Join(names, ", "))
}

// An endpoint is what accept and connect name.
type endpoint struct {
	host string // "": every address, or this host
	port int
	path string // of a unix socket instead
}

func (e endpoint) String() string {
	if e.path != "" {
		return e.path
	}
	return net.JoinHostPort(e.host, strconv.Itoa(e.port))
}

// parseEndpoint reads [HOST:]PORT as stunnel does, which cuts at the last colon.
func parseEndpoint(text string) (e endpoint, err error) {
	if strings.HasPrefix(text, "/") {
		return endpoint{path: text}, nil
	}
	port := text
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		e.host, port = strings.Trim(text[:i], "[]"), text[i+1:]
	}
	if e.port, err = strconv.Atoi(port); err != nil {
		e.port, err = net.LookupPort("tcp", port) // by name, from /etc/services
	}
	if err != nil || e.port < 1 || e.port > 65535 {
		return e, errors.New("is no [HOST:]PORT")
	}
	return e, nil
}

// connectOf is where a service goes.
func connectOf(s service) (to []endpoint, err error) {
	for _, o := range s.options.all("connect") {
		p, err := parseEndpoint(o.value)
		if err != nil {
			return nil, o.errorf("connect %w", err)
		}
		to = append(to, p)
	}
	if len(to) == 0 {
		return nil, s.errorf("section [%s] has no connect", s.name)
	}
	return to, nil
}

// addsUp are the options of which a service may have several.
var addsUp = []string{"connect", "options", "socket", "checkhost", "checkemail", "checkip", "ocspflag", "enginectrl", "config", "protocolheader", "caengine", "redirect", "setenv"}

// read finds about every line, and says where the service listens.
func (e *end) read(conf *stunnelConf) (at endpoint, err error) {
	for _, other := range conf.services {
		if other.place != e.service.place {
			e.add(Finding{File: other.file, Line: other.line, Name: "[" + other.name + "]", Verdict: Dropped,
				Why: "Another service of this stunnel: it is left alone, and stunnel goes on for it."})
		}
	}
	accept, set := e.service.options.last("accept")
	if !set {
		return at, e.service.errorf("section [%s] has no accept", e.service.name)
	}
	if at, err = parseEndpoint(accept.value); err != nil {
		return at, accept.errorf("accept %w", err)
	}
	if at.path != "" && !e.client {
		return at, accept.errorf("accept is a unix socket: no other host comes in there")
	}
	for i, o := range e.service.options {
		if later, _ := e.service.options.last(o.name); later.place != o.place && !slices.Contains(addsUp, strings.ToLower(o.name)) {
			e.about(o, Dropped, fmt.Sprintf("It is set again at %s:%d.", later.file, later.line))
			continue
		}
		e.option(o, i < e.service.own)
	}
	e.verification()
	e.versions()
	e.certificates()
	return at, nil
}

// option is the finding about a line by itself.
func (e *end) option(o option, global bool) {
	d, known := lookupOption(o.name)
	switch {
	case !known:
		f := e.about(o, Unknown, "No stunnel that we know has this option. Take it out of the file, or go on without it.")
		f.Was = ""
	case slices.Contains(judged, strings.ToLower(o.name)): // together with others
	case o.is("libwrap") && !d.without(o.value):
		e.about(o, Changed, d.why)
	case o.is("accept") && e.client:
		e.about(o, Kept, "Where applications find their cache.")
	case o.is("accept"):
		e.about(o, Changed, "The gateway listens beside stunnel, so that hosts can go over one by one.")
	case o.is("connect") && e.client:
		e.about(o, Kept, "The cache host.")
	case o.is("connect"):
		e.about(o, Dropped, ownSocket)
	case o.is("client"):
		e.about(o, Kept, "Which end of the tunnel it is.")
	case d.without(o.value):
		e.about(o, Dropped, "It had no effect, and has none.")
	default:
		f := e.about(o, d.verdict, d.why)
		if f.Weak = d.weak; d.secret {
			f.Was = ""
		}
	}
}

func (e *end) about(o option, v Verdict, why string) *Finding {
	e.add(Finding{File: o.file, Line: o.line, Name: o.name, Was: o.value, Verdict: v, Why: why})
	if d, known := lookupOption(o.name); !known || d.secret {
		e.findings[len(e.findings)-1].Was = ""
	}
	return &e.findings[len(e.findings)-1]
}

// lacking is a finding about what the section doesn't say.
func (e *end) lacking(name, why string) {
	e.add(Finding{File: e.service.file, Line: e.service.line, Name: name, Verdict: Tightened, Weak: true, Why: "It is not set. " + why})
}
