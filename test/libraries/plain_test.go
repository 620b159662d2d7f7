//go:build slow

package libraries_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// plain is a Redis that refuses nothing, behind a proxy that notes the commands that it
// is sent. MONITOR would not do: it hides administrators' commands, and shows those that
// scripts call as if they had been sent.
type plain struct {
	t       *testing.T
	url     string // the proxy's
	version string
	address string // the engine's
	admin   *lab.Client

	mu    sync.Mutex
	names map[string]bool
}

func startPlain(t *testing.T) *plain {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &plain{t: t, address: free.Addr().String(), names: map[string]bool{}}
	_, port, _ := net.SplitHostPort(p.address)
	free.Close()
	password := rand.Text()
	lab.Plain(t, "redis-server", "bind 127.0.0.1", "port "+port, `save ""`, "requirepass "+password)
	p.admin = lab.Connect(t, p.address, password)
	v, err := engine.VersionFromInfo(p.admin.Do("INFO", "server"))
	if err != nil {
		t.Fatal(err)
	}
	p.version = v.String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = fmt.Sprintf("redis://:%s@%s", password, l.Addr())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() { // by now every library has ended, and with it its connections
		l.Close()
		serving.Wait()
	})
	return p
}

// clean forgets what the feature before left.
func (p *plain) clean() {
	p.t.Helper()
	p.admin.Want("+OK\r\n", "FLUSHALL")
	p.admin.Want("+OK\r\n", "SCRIPT", "FLUSH")
	p.sent()
}

// sent is the names of the commands that came since the last call.
func (p *plain) sent() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name := range p.names {
		names = append(names, name)
	}
	clear(p.names)
	slices.Sort(names)
	return names
}

// carry serves a connection.
func (p *plain) carry(app net.Conn) {
	defer app.Close()
	engine, err := net.Dial("tcp", p.address)
	if err != nil {
		return // the test has ended
	}
	defer engine.Close()
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() {
		_, _ = io.Copy(app, engine)
		app.Close()
	})
	defer engine.Close()
	var have []byte
	scan := resp.CommandScanner{Authenticated: true}
	buf := make([]byte, 64<<10)
	for {
		n, err := app.Read(buf)
		have = p.note(&scan, append(have, buf[:n]...))
		if _, failed := engine.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

// note takes whole commands off b and returns the rest.
func (p *plain) note(scan *resp.CommandScanner, b []byte) []byte {
	for {
		h, o := scan.Head(b)
		if o == resp.More {
			return b
		}
		n := 0
		if o == resp.Whole && h.Argc > 0 {
			n, o = scan.Body(b[h.Len:])
		}
		switch {
		case o == resp.More:
			return b
		case o != resp.Whole || h.Inline:
			p.t.Errorf("a library sent what is no command: %.40q", b)
			return nil
		}
		c := command.Lookup(h.Name, h.Sub)
		name := c.Name
		if !c.Known() {
			name = strings.ToLower(string(h.Name)) + "?"
			p.t.Errorf("a library sent %.40q %.40q, which the table doesn't have", h.Name, h.Sub)
		}
		p.mu.Lock()
		p.names[name] = true
		p.mu.Unlock()
		b = b[h.Len+n:]
	}
}
