package migration

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
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
	b.taken = append(b.taken, conf.ports()...)
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
	name := b.options.ClientService
	if name == "" && slices.ContainsFunc(conf.services, func(s service) bool { return s.name == b.options.Service && s.options.yes("client") }) {
		name = b.options.Service // both ends have the same name
	}
	svc, err := conf.clientFor(b.door, name)
	if err != nil {
		return err
	}
	client := &end{journal: b.journal, service: svc, now: b.options.Now, client: true}
	at, err := client.read(conf)
	if err != nil {
		return err
	}
	b.local = &at
	b.localAt = svc.options.all("accept")[0]
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
	what := fmt.Sprintf("is a server (client = no) and connects to Redis (port %d of %s)", srv.port, srv.file)
	if srv.socket != "" {
		what = fmt.Sprintf("is a server (client = no) and connects to Redis (port %d or %s, as %s says)", srv.port, srv.socket, srv.file)
	}
	return c.choose("--service", name, false, what, func(s service) bool {
		for _, to := range s.options.all("connect") {
			if p, err := parseEndpoint(to.value); err == nil && srv.at(p) {
				return true
			}
		}
		return false
	})
}

// at says whether Redis can be there, for who is on its host.
func (srv *server) at(p endpoint) bool {
	if p.path != "" {
		return srv.socket != "" && sameSocket(p.path, srv.socket)
	}
	_, err := netip.ParseAddr(p.host)
	here := err != nil || loopback(p.host) || len(srv.addresses) == 0 // a name may be anybody's
	for _, a := range srv.addresses {
		a = strings.TrimPrefix(a, "-")
		here = here || a == p.host || a == "*" || a == "0.0.0.0" || a == "::"
	}
	return p.port != 0 && p.port == srv.port && here
}

// sameSocket compares two paths as they are on any Linux of today, where /var/run is
// /run, and as they are here.
func sameSocket(a, b string) bool {
	real := func(path string) string {
		path = filepath.Clean(path)
		if rest, below := strings.CutPrefix(path, "/var/run/"); below {
			path = "/run/" + rest
		}
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(dir, filepath.Base(path))
		}
		return path
	}
	return real(a) == real(b)
}

// clientFor finds the section through which applications reach the cache.
func (c *stunnelConf) clientFor(door endpoint, name string) (service, error) {
	return c.choose("--client-service", name, true, fmt.Sprintf("is a client (client = yes) of port %d", door.port), func(s service) bool {
		to, err := connectOf(s)
		return err == nil && slices.ContainsFunc(to, func(p endpoint) bool { return p.port == door.port })
	})
}

// choose finds the one service, by its name or by what it does.
func (c *stunnelConf) choose(flag, name string, client bool, what string, fits func(service) bool) (service, error) {
	var found, names []string
	var chosen service
	for _, s := range c.services {
		names = append(names, strconv.Quote(s.name))
		if s.name == name && s.options.yes("client") != client {
			return s, s.errorf("%s names section [%s], which is the other end of a tunnel (client = %v)", flag, name, map[bool]string{true: "no", false: "yes"}[client])
		}
		if s.name == name || name == "" && s.options.yes("client") == client && fits(s) {
			found, chosen = append(found, strconv.Quote(s.name)), s
		}
	}
	file := c.services[0].file
	switch {
	case len(found) == 1:
		return chosen, nil
	case len(found) > 1:
		return chosen, fmt.Errorf("%s: more than one section %s (%s): name the one that is meant with %s", file, what, strings.Join(found, ", "), flag)
	case name != "":
		return chosen, fmt.Errorf("%s has no section [%s], which %s names: there are %s", file, name, flag, strings.Join(names, ", "))
	}
	return chosen, fmt.Errorf("%s: no section %s: name it with %s (there are %s)", file, what, flag, strings.Join(names, ", "))
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

// hostName is RFC 1123, section 2.1, and the underscore that people use.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

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
	if _, err := netip.ParseAddr(e.host); err != nil && e.host != "" && !hostName.MatchString(e.host) {
		return e, errors.New("has neither an address nor a host's name before the port")
	}
	return e, nil
}

// ports are those of this host that the services are known to use: where they
// listen, and where on this host they connect to.
func (c *stunnelConf) ports() (list []endpoint) {
	for _, s := range c.services {
		for _, o := range append(s.options.all("accept"), s.options.all("connect")...) {
			p, err := parseEndpoint(o.value)
			if err == nil && p.port != 0 && (o.is("accept") || p.host == "" || loopback(p.host)) {
				list = append(list, p)
			}
		}
	}
	return list
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
var addsUp = []string{"accept", "connect", "options", "socket", "checkhost", "checkemail", "checkip", "ocspflag", "enginectrl", "config", "protocolheader", "caengine", "redirect", "setenv"}

// read finds about every line, and says where the service listens.
func (e *end) read(conf *stunnelConf) (at endpoint, err error) {
	for _, other := range conf.services {
		if other.place != e.service.place {
			e.add(Finding{File: other.file, Line: other.line, Name: "[" + other.name + "]", Verdict: Dropped,
				Why: "Another service of this stunnel: it is left alone, and stunnel goes on for it."})
		}
	}
	doors := e.service.options.all("accept")
	if len(doors) == 0 {
		return at, e.service.errorf("section [%s] has no accept", e.service.name)
	}
	accept := doors[0]
	if at, err = parseEndpoint(accept.value); err != nil {
		return at, accept.errorf("accept %w", err)
	}
	if at.path != "" && !e.client {
		return at, accept.errorf("accept is a unix socket: no other host comes in there")
	}
	if err := e.service.check(); err != nil {
		return at, err
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
	case e.client && o.is("sni"):
		e.about(o, Dropped, "The name that the client asked the server for. The gateway is known by the name in its certificate.")
	case e.client && o.is("libwrap") && !d.without(o.value):
		e.about(o, Changed, "/etc/hosts.allow and hosts.deny are not read: the sidecar listens on this host's loopback, and can let in some users only (allow_uids in sidecar.yaml).")
	case e.client && o.is("accept") && o.place != e.first("accept"):
		e.about(o, Refused, "The sidecar listens at one place, that of the first accept. Applications that come here would find nothing: give them that address, then go on.")
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

// first is the place of the first line with a name.
func (e *end) first(name string) (p place) {
	if all := e.service.options.all(name); len(all) > 0 {
		p = all[0].place
	}
	return p
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
