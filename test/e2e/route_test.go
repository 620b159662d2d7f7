package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// A valve is the network between a sidecar and a gateway.
type valve struct {
	listener net.Listener
	mu       sync.Mutex
	turned   *sync.Cond
	state    string // open, silent: nothing passes any more; closed: nobody is let in
	to       string
	pipes    map[net.Conn]string // the state in which each was opened, or worse
	running  sync.WaitGroup
}

func newValve(t *testing.T) *valve {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	v := &valve{listener: l, state: "open", pipes: map[net.Conn]string{}}
	v.turned = sync.NewCond(&v.mu)
	v.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			v.running.Go(func() { v.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); v.turn("closed"); v.running.Wait() })
	return v
}

// turn also ends what went through while it was not open: a network that heals does
// not bring back connections that both ends have given up.
func (v *valve) turn(state string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for conn := range v.pipes {
		if state == "closed" || v.state != "open" {
			conn.Close()
		}
	}
	v.state = state
	v.turned.Broadcast()
}

func (v *valve) leadTo(address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.to = address
}

// enter puts a connection under the valve; false if it is closed.
func (v *valve) enter(conn net.Conn) (to string, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.state == "closed" {
		return "", false
	}
	v.pipes[conn] = v.state
	return v.to, true
}

func (v *valve) leave(conn net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pipes, conn)
	conn.Close()
	v.turned.Broadcast()
}

// passes waits while nothing passes; false if the connection ends meanwhile.
func (v *valve) passes(conn net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	began := v.state
	for v.state == "silent" {
		v.turned.Wait()
	}
	return began == "open"
}

func (v *valve) serve(near net.Conn) {
	to, ok := v.enter(near)
	defer v.leave(near)
	if !ok || !v.passes(near) {
		return
	}
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	v.running.Go(func() { defer near.Close(); v.copy(near, far, near) })
	v.copy(far, near, near)
}

func (v *valve) copy(dst, src, of net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if !v.passes(of) || err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// twoGateways are two gateways, each with a cache of its own behind a valve, and a sidecar that
// has both.
type twoGateways struct {
	*site
	password string
	valves   [2]*valve
	gateways [2]*lab.Process
	doors    [2]string // where the gateways themselves listen
	sidecar  string
	log      *lab.Process
}

func nthCache(i int) string { return fmt.Sprintf("cache-%d", i+1) }

func newTwoGateways(t *testing.T, more string) *twoGateways {
	t.Helper()
	p := &twoGateways{site: &site{t: t, dir: t.TempDir()}}
	p.redoubt("pki", "init", "--deployment", "clinic", "--dir", p.path("ca"))
	p.redoubt("pki", "issue", "--dir", p.path("ca"), "--role", "app", "--name", "web-1", "--out", p.path("web-1", "tls"))
	p.redoubt("secret", "new", "--out", p.path("secret"))
	env := strings.TrimSpace(read(t, p.path("secret", "app.env")))
	p.password = env[strings.Index(env, "://:")+4 : strings.LastIndex(env, "@")]
	list := ""
	for i := range p.valves {
		name := nthCache(i)
		p.redoubt("pki", "issue", "--dir", p.path("ca"), "--role", "gateway", "--name", name, "--out", p.path(name, "tls"))
		p.write("gateway.yaml", p.path(name), "deployment: clinic\nname: "+name+"\nlisten: 127.0.0.1:0\nadmin: {socket: admin.sock}\ntls: {certificate: tls/tls.pem, ca: tls/ca.crt}\n"+
			"engine: {password_digests: ../secret/password.sha256, memory: 64mb, max_value: 32mb"+more+"}\n")
		p.valves[i] = newValve(t)
		p.start(i)
		list += "{name: " + name + ", address: " + p.valves[i].listener.Addr().String() + "}, "
	}
	p.log, p.sidecar = p.sidecarTo("sidecar", list)
	return p
}

var listensAt = regexp.MustCompile(`msg=ready address=(\S+)`)

// start starts a gateway, with a cache that is empty.
func (p *twoGateways) start(i int) {
	p.t.Helper()
	p.gateways[i] = lab.Start(p.t, exec.Command(lab.Redoubt(p.t), "gateway", "--config", p.path(nthCache(i), "gateway.yaml"), "--log-format", "text"), "msg=ready")
	p.doors[i] = listensAt.FindStringSubmatch(p.gateways[i].Output())[1]
	p.valves[i].leadTo(p.doors[i])
}

func (p *twoGateways) sidecarTo(name, list string) (*lab.Process, string) {
	p.t.Helper()
	p.write(name+".yaml", p.path("web-1"), "deployment: clinic\nname: web-1\nlisten: 127.0.0.1:0\nadmin: {socket: "+name+".sock}\ngateways: ["+list+"]\ntls: {certificate: tls/tls.pem, ca: tls/ca.crt}\n")
	s := lab.Start(p.t, exec.Command(lab.Redoubt(p.t), "sidecar", "--config", p.path("web-1", name+".yaml"), "--log-format", "text"), "msg=ready")
	return s, listensAt.FindStringSubmatch(s.Output())[1]
}

// mark writes a cache's name into it, by a way of its own.
func (p *twoGateways) mark(i int) {
	p.t.Helper()
	s, address := p.sidecarTo("mark", "{name: "+nthCache(i)+", address: "+p.doors[i]+"}")
	lab.Connect(p.t, address, p.password).Want("+OK\r\n", "SET", "who", nthCache(i))
	s.Stop()
}

// who is the cache that a new connection finds, when one is found.
func (p *twoGateways) who() string {
	conn, err := net.Dial("tcp", p.sidecar)
	must(p.t, err)
	defer conn.Close()
	c := lab.NewClient(p.t, conn)
	c.Send(lab.Encode("AUTH", p.password) + lab.Encode("GET", "who"))
	if reply, err := c.TryReply(); reply != "+OK\r\n" || err != nil {
		return ""
	}
	reply, _ := c.TryReply()
	_, reply, _ = strings.Cut(strings.TrimSpace(reply), "\r\n")
	return reply
}

// A watcher uses one connection after the other, each for as long as it lasts, over
// shared lanes and lanes of its own, and holds what each of them reads against what it
// has read before.
type watcher struct {
	pair     *twoGateways
	at       atomic.Value // the cache that its connection has seen, a string
	problems []string
}

func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", w.pair.sidecar)
		if err != nil {
			w.problems = append(w.problems, err.Error())
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		w.watch(lab.NewClient(w.pair.t, conn))
		stop()
		conn.Close()
	}
}

func (w *watcher) watch(c *lab.Client) {
	var who string
	var version int
	do := func(args ...string) (string, bool) {
		if _, err := c.Conn.Write([]byte(lab.Encode(args...))); err != nil {
			return "", false
		}
		reply, err := c.TryReply()
		return reply, err == nil
	}
	for {
		if reply, ok := do("AUTH", w.pair.password); !ok {
			return
		} else if reply == "+OK\r\n" {
			break
		}
	}
	pace := newPace()
	defer pace.Stop()
	for round := 0; ; round++ {
		<-pace.C
		if round%50 == 25 {
			if _, ok := do("WATCH", "nothing"); !ok {
				return
			}
		}
		reply, ok := do("MGET", "who", "version")
		if !ok {
			return
		}
		if reply[0] == '-' {
			continue
		}
		parts := strings.Split(reply, "\r\n") // *2, $7, cache-1, $2, 12; or $-1
		values := map[string]string{}
		at := 1
		for _, key := range []string{"who", "version"} {
			if parts[at] != "$-1" {
				values[key] = parts[at+1]
				at++
			}
			at++
		}
		if now, ok := values["who"]; ok && now != who {
			if who != "" {
				w.problems = append(w.problems, fmt.Sprintf("a connection saw %s and then %s", who, now))
			}
			who = now
			w.at.Store(who)
		}
		if text, ok := values["version"]; ok {
			now, err := strconv.Atoi(text)
			if err != nil || now < version {
				w.problems = append(w.problems, fmt.Sprintf("a connection read %d and then %q", version, text))
			}
			version = now
		}
	}
}

// keepWriting writes versions, each once, with whatever connection there is.
func (p *twoGateways) keepWriting(ctx context.Context, version *atomic.Int64) {
	pace := newPace()
	defer pace.Stop()
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", p.sidecar)
		if err != nil {
			return
		}
		c := lab.NewClient(p.t, conn)
		conn.Write([]byte(lab.Encode("AUTH", p.password)))
		reply, err := c.TryReply()
		for err == nil && reply == "+OK\r\n" && ctx.Err() == nil {
			<-pace.C
			conn.Write([]byte(lab.Encode("SET", "version", strconv.FormatInt(version.Add(1), 10))))
			reply, err = c.TryReply()
		}
		conn.Close()
	}
}

// TestNoConnectionSeesTwoCaches: one gateway falls silent, one is restarted, one is cut
// off, and each is there again later.
func TestNoConnectionSeesTwoCaches(t *testing.T) {
	t.Parallel()
	p := newTwoGateways(t, "")
	for i := range p.gateways {
		p.mark(i)
	}
	ctx, stop := context.WithCancel(t.Context())
	var version atomic.Int64
	var running sync.WaitGroup
	running.Go(func() { p.keepWriting(ctx, &version) })
	watchers := make([]*watcher, 6)
	for i := range watchers {
		watchers[i] = &watcher{pair: p}
		running.Go(func() { watchers[i].run(ctx) })
	}
	defer func() { stop(); running.Wait() }()
	finds := func(i int) {
		t.Helper()
		within(t, time.Minute, "the sidecar to use "+nthCache(i), func() bool {
			return p.who() == nthCache(i) && !slices.ContainsFunc(watchers, func(w *watcher) bool { return w.at.Load() != nthCache(i) })
		})
	}
	finds(0)
	silent := time.Now()
	p.valves[0].turn("silent")
	finds(1)
	t.Logf("a silent gateway, with lanes that stand: %v until the next one served", time.Since(silent))
	p.valves[0].turn("open")
	finds(1)
	p.gateways[1].Stop()
	finds(0)
	p.start(1)
	p.mark(1)
	finds(0)
	p.valves[0].turn("closed")
	finds(1)
	p.valves[0].turn("open")
	for range 20 { // it stays, whoever comes
		finds(1)
	}
	stop()
	running.Wait()
	for i, w := range watchers {
		for _, problem := range w.problems[:min(5, len(w.problems))] {
			t.Errorf("watcher %d: %s", i, problem)
		}
	}
	p.tellsOf("cache-2", 3)
}

// sidecarFacts are what redoubt status tells of a sidecar.
type sidecarFacts struct {
	Gateways []struct {
		Name    string
		Current bool
	}
	Steps       int `json:"gateway_steps"`
	SharedLanes int `json:"shared_lanes"`
	LanesLost   int `json:"lanes_lost"`
}

// told is what redoubt status --json says of a process.
type told struct {
	Problems []string
	Facts    struct{ Sidecar sidecarFacts }
}

// toldOf reads it, of one process.
func toldOf(t *testing.T, out string) told {
	t.Helper()
	var found []told
	if err := json.Unmarshal([]byte(out[:strings.LastIndex(out, "]")+1]), &found); err != nil || len(found) != 1 {
		t.Fatalf("status: %v\n%s", err, out)
	}
	return found[0]
}

// tellsOf looks at what the sidecar tells: status, metric, log.
func (p *twoGateways) tellsOf(current string, steps int) {
	p.t.Helper()
	out, code := lab.Run(p.t, exec.Command(lab.Redoubt(p.t), "status", "--socket", p.path("web-1", "sidecar.sock"), "--json"))
	told := toldOf(p.t, out)
	s := told.Facts.Sidecar
	for _, g := range s.Gateways {
		if g.Current != (g.Name == current) {
			p.t.Errorf("status: %+v, want %s", s, current)
		}
	}
	if s.Steps != steps || len(s.Gateways) != 2 {
		p.t.Errorf("status: %+v, want %d steps", s, steps)
	}
	if code != 1 || !strings.Contains(strings.Join(told.Problems, "\n"), "this host uses gateway "+current) {
		p.t.Errorf("status ended with %d, problems %q", code, told.Problems)
	}
	within(p.t, time.Minute, fmt.Sprint("the log to tell of steps: ", steps), func() bool {
		return strings.Count(p.log.Output(), "msg=\"gone on to another gateway") == steps
	})
}

// TestLocksAndQueuesAreRefusedToWhoHasSeveralGateways where a file can't tell: the
// sidecar's doesn't say what the cache is for.
func TestLocksAndQueuesAreRefusedToWhoHasSeveralGateways(t *testing.T) {
	p := newTwoGateways(t, ", uses: [locks]")
	conn := lab.Connect(t, p.sidecar, "")
	if got := conn.Do("AUTH", p.password); !strings.HasPrefix(got, "-LOADING redoubt: ") {
		t.Errorf("a sidecar with two: %q", got)
	}
	for where, log := range map[string]*lab.Process{"sidecar": p.log, "gateway": p.gateways[0]} {
		within(t, time.Minute, "the "+where+" to say why", func() bool { return strings.Contains(log.Output(), "must not be one of several") })
	}
	p.mark(0) // a sidecar with one
}
