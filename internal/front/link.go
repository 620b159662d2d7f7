package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/part"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// link is the keeper's end of one front's life.
type link struct {
	front    *net.UnixConn
	process  *part.Process
	options  *Options
	settings func() gateway.Settings // what of the options may have changed since
	ctx      context.Context         // ends with the link
	stop     func()

	asks      chan struct{} // a place for each ask that is answered now
	listening sync.WaitGroup
	serving   sync.WaitGroup // begun by who listens

	mu      sync.Mutex
	asked   map[uint64]chan toKeeper // what was asked of the front
	last    uint64
	visits  int // connections to what serves enrolment and renewal
	writing sync.Mutex
}

// close ends all that was begun for this front, after its process has ended.
func (l *link) close() {
	l.stop()
	l.front.Close()
	l.listening.Wait()
	l.serving.Wait()
}

func (l *link) ended() bool {
	select {
	case <-l.process.Done():
		return true
	default:
		return false
	}
}

// say writes a message, with descriptors. The front reads all the time: one that doesn't
// for so long is broken, and ended by who waits for it.
func (l *link) say(m toFront, files ...*os.File) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var along []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		along = unix.UnixRights(fds...)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.front.SetWriteDeadline(time.Now().Add(askTimeout))
	_, _, err = l.front.WriteMsgUnix(text, along, nil)
	return err
}

func (l *link) sendState(s state, more ...*os.File) error {
	memory, err := inMemory(s)
	if err != nil {
		return err
	}
	defer memory.Close()
	return l.say(toFront{Kind: kindState}, append([]*os.File{memory}, more...)...)
}

// ask asks the front, and waits for its answer as long as ctx lasts.
func (l *link) ask(ctx context.Context, about kind) (toKeeper, error) {
	waits := make(chan toKeeper, 1)
	l.mu.Lock()
	l.last++
	number := l.last
	l.asked[number] = waits
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.asked, number)
		l.mu.Unlock()
	}()
	if err := l.say(toFront{Kind: about, Number: number}); err != nil {
		return toKeeper{}, err
	}
	select {
	case m := <-waits:
		if m.Kind != about {
			return m, errMessage
		}
		return m, nil
	case <-l.process.Done():
		return toKeeper{}, errors.New("the front has ended")
	case <-ctx.Done():
		return toKeeper{}, ctx.Err()
	}
}

// listen takes in what the front says, until it ends. Asks are answered beside, so many
// at once; while all places are taken the rest waits in the socket.
func (l *link) listen(ready func()) error {
	text := make([]byte, maxMessage+1)
	begun := false
	for {
		n, err := l.front.Read(text)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		m, err := parse(text[:n])
		if err != nil {
			return err
		}
		switch m.Kind {
		case kindReady:
			if begun {
				return errMessage
			}
			begun = true
			ready()
		case kindStatus, kindAlive:
			l.answered(m)
		default:
			l.asks <- struct{}{}
			l.serving.Go(func() {
				defer func() { <-l.asks }()
				l.give(m)
			})
		}
	}
}

func (l *link) answered(m toKeeper) {
	l.mu.Lock()
	waits := l.asked[m.Number]
	delete(l.asked, m.Number)
	l.mu.Unlock()
	if waits != nil {
		waits <- m
	}
}

// give answers an ask.
func (l *link) give(m toKeeper) {
	file, err := l.make(m)
	answer := toFront{Kind: m.Kind, Number: m.Number}
	if err != nil {
		answer.Error = err.Error()
		l.say(answer)
		return
	}
	l.say(answer, file) // if it fails the front is gone, or nearly
	file.Close()
}

// make makes the connection that is asked for: the front's end of it.
func (l *link) make(m toKeeper) (*os.File, error) {
	switch m.Kind {
	case kindLane:
		return l.lane()
	case kindEnroll:
		return l.visit(l.options.Enroll, m)
	default:
		return l.visit(l.options.Renew, m)
	}
}

func (l *link) lane() (*os.File, error) {
	ctx, cancel := context.WithTimeout(l.ctx, askTimeout)
	defer cancel()
	conn, err := l.options.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	engine, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("the engine's connection is a %T, only a unix socket will do", conn)
	}
	return engine.File()
}

// visit begins to serve a host that enrols or renews, over a socket whose other end is
// the front's.
func (l *link) visit(serve func(context.Context, tunnel.Conn), m toKeeper) (*os.File, error) {
	if serve == nil {
		return nil, errors.New("this is not served here")
	}
	v := visitor{source: m.Source}
	for _, der := range m.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("the certificate can't be read")
		}
		v.chain = append(v.chain, cert)
	}
	l.mu.Lock()
	limits := l.settings().Limits
	if l.visits >= limits.Connections+limits.Handshakes {
		l.mu.Unlock()
		return nil, errors.New("too many hosts enrol or renew (limits.connections)")
	}
	l.visits++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		l.visits--
		l.mu.Unlock()
	}
	ours, theirs, err := pair(false)
	if err != nil {
		leave()
		return nil, err
	}
	v.UnixConn = ours
	l.serving.Go(func() {
		defer leave()
		defer v.Close()
		if m.Kind == kindEnroll { // until it has asked; the answer has a deadline of its own
			v.SetDeadline(time.Now().Add(limits.HandshakeTimeout))
		}
		serve(l.ctx, v)
	})
	return theirs, nil
}

// visitor is a connection whose TLS the front has ended: who is there is its word.
type visitor struct {
	*net.UnixConn
	source netip.Addr
	chain  []*x509.Certificate
}

// RemoteAddr is the peer's as far as it is known.
func (v visitor) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: v.source.AsSlice(), Zone: v.source.Zone()}
}

// ConnectionState is what of a handshake's outcome is known here.
func (v visitor) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, PeerCertificates: v.chain}
}
