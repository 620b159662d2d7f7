package front

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/part"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// This file is the front's own process.

// Role is the front as main hands it to sandbox.Main.
func Role() sandbox.Role { return sandbox.Role{Name: "front", Run: serve} }

// served is a front that serves.
type served struct {
	keeper      *net.UnixConn
	gateway     *gateway.Gateway
	credentials *tunnel.Credentials
	log         *slog.Logger

	mu    sync.Mutex
	asked map[uint64]chan given // what was asked for and has not come
	last  uint64
}

// given is a connection that was asked for, or why there is none.
type given struct {
	conn *net.UnixConn
	err  error
}

var errKeeperGone = errors.New("the keeper is gone")

func serve() int {
	log := part.Log(slog.LevelInfo)
	if err := run(&log); err != nil {
		log.Error("the front ends", "cause", err)
		return 1
	}
	return 0
}

func run(log **slog.Logger) error {
	keeper, err := connOf(sandbox.FirstFile, "keeper")
	if err != nil {
		return fmt.Errorf("descriptor %d: %w (only redoubt itself starts its front)", sandbox.FirstFile, err)
	}
	defer keeper.Close()
	m, files, err := receive(keeper)
	if err != nil {
		return err
	}
	if m.Kind != kindState || len(files) != 2 {
		return errors.New("the keeper didn't begin with a state and a listener")
	}
	listener, err := net.FileListener(files[1])
	files[1].Close()
	if err != nil {
		return err
	}
	first, err := readState(files[0])
	files[0].Close()
	if err != nil || first.First == nil || first.Settings == nil {
		return errors.New("the keeper's state can't be read")
	}
	if first.First.Debug {
		*log = part.Log(slog.LevelDebug)
	}
	s := &served{keeper: keeper, log: *log, asked: map[uint64]chan given{}}
	if s.credentials, err = tunnel.PassedCredentials(first.Credentials); err != nil {
		return err
	}
	if s.gateway, err = gateway.New(s.options(first, listener)); err != nil {
		return err
	}
	eventloop.Room(s.gateway.Loops())
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	listening := make(chan error, 1)
	go func() {
		err := s.listen(ctx, drain)
		drain()
		listening <- err
	}()
	err = s.gateway.Run(ctx, func() { s.say(toKeeper{Kind: kindReady}) })
	keeper.Close()
	if heard := <-listening; err == nil && !errors.Is(heard, net.ErrClosed) {
		err = heard
	}
	return err
}

func (s *served) options(set state, listener net.Listener) gateway.Options {
	o := gateway.Options{Settings: *set.Settings, Listener: listener, Credentials: s.credentials, Log: s.log, Dial: s.lane}
	if set.First.Enroll {
		o.Enroll = func(ctx context.Context, conn tunnel.Conn) {
			s.pass(ctx, conn, toKeeper{Kind: kindEnroll, Source: tunnel.Source(conn)})
		}
	}
	if set.First.Renew {
		o.Renew = func(ctx context.Context, conn tunnel.Conn) {
			s.pass(ctx, conn, toKeeper{Kind: kindRenew, Source: tunnel.Source(conn), Chain: rawChain(conn.ConnectionState())})
		}
	}
	return o
}

func rawChain(cs tls.ConnectionState) (chain [][]byte) {
	for _, cert := range cs.PeerCertificates {
		chain = append(chain, cert.Raw)
	}
	return chain
}

// receive takes a message of the keeper's with what came along. Without an answer of the
// keeper's socket there is nothing to be done: it is an error.
func receive(keeper *net.UnixConn) (m toFront, files []*os.File, err error) {
	text, along := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*2))
	n, oob, _, _, err := keeper.ReadMsgUnix(text, along)
	if err != nil {
		return m, nil, err
	}
	if n == 0 {
		return m, nil, errKeeperGone
	}
	messages, err := unix.ParseSocketControlMessage(along[:oob])
	if err != nil {
		return m, nil, err
	}
	for _, c := range messages {
		fds, err := unix.ParseUnixRights(&c)
		if err != nil {
			return m, nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "sent"))
		}
	}
	return m, files, strictly(text[:n], &m)
}

// listen follows the keeper until that is gone, or all has ended here.
func (s *served) listen(ctx context.Context, drain func()) error {
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		m, files, err := receive(s.keeper)
		if err != nil {
			s.forget()
			return err
		}
		switch m.Kind {
		case kindState:
			if len(files) == 1 {
				s.takeOver(files[0])
			}
		case kindDrain:
			drain()
		case kindStatus:
			status := s.gateway.Status()
			s.say(toKeeper{Kind: kindStatus, Number: m.Number, Status: &status})
		case kindAlive:
			answering.Go(func() {
				// Whoever asks waits so long and no longer; while all drains the loops turn too.
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), aliveWithin)
				defer cancel()
				s.say(toKeeper{Kind: kindAlive, Number: m.Number, Alive: s.gateway.Alive(within)})
			})
		case kindLane, kindEnroll, kindRenew:
			s.give(m, files)
			continue // whose files are taken
		}
		for _, f := range files {
			f.Close()
		}
	}
}

func (s *served) takeOver(file *os.File) {
	next, err := readState(file)
	if err == nil && len(next.Credentials) > 0 {
		err = s.credentials.TakeOver(next.Credentials)
	}
	if err == nil && next.Settings != nil {
		err = s.gateway.Change(*next.Settings)
	}
	if err != nil {
		s.log.Error("the front doesn't take in new certificates or settings: what was in force stays", "cause", err)
	}
}

// give hands what was asked for to who waits. What nobody waits for any more is closed.
func (s *served) give(m toFront, files []*os.File) {
	g := given{err: errors.New(m.Error)}
	if len(files) == 1 {
		conn, err := net.FileConn(files[0])
		g = given{err: err}
		if err == nil {
			g.conn, _ = conn.(*net.UnixConn)
		}
	} else if m.Error == "" {
		g.err = errors.New("the front has all the descriptors that it may have")
	}
	for _, f := range files {
		f.Close()
	}
	s.mu.Lock()
	waits := s.asked[m.Number]
	delete(s.asked, m.Number)
	s.mu.Unlock()
	if waits != nil {
		waits <- g
	} else if g.conn != nil {
		g.conn.Close()
	}
}

// forget lets nobody wait for a keeper that is gone.
func (s *served) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waits := range s.asked {
		waits <- given{err: errKeeperGone}
	}
	s.asked = nil
}

func (s *served) say(m toKeeper) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return errors.New("a certificate chain that is too long")
	}
	_, err = s.keeper.Write(text)
	return err
}

// ask asks the keeper for a connection, and waits for it for as long as ctx lasts.
func (s *served) ask(ctx context.Context, m toKeeper) (*net.UnixConn, error) {
	waits := make(chan given, 1)
	s.mu.Lock()
	if s.asked == nil {
		s.mu.Unlock()
		return nil, errKeeperGone
	}
	s.last++
	m.Number = s.last
	s.asked[m.Number] = waits
	s.mu.Unlock()
	err := s.say(m)
	if err == nil {
		select {
		case g := <-waits:
			return g.conn, g.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.mu.Lock()
	delete(s.asked, m.Number)
	s.mu.Unlock()
	select {
	case g := <-waits: // it came all the same
		if g.conn != nil {
			g.conn.Close()
		}
	default:
	}
	return nil, err
}

func (s *served) lane(ctx context.Context) (net.Conn, error) {
	conn, err := s.ask(ctx, toKeeper{Kind: kindLane})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// pass carries bytes between a peer and what serves it in the keeper, until either ends.
// The deadline that is in force for the peer stays: who enrols has no more time than the
// handshake's (gateway.Options).
func (s *served) pass(ctx context.Context, peer tunnel.Conn, m toKeeper) {
	within, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	far, err := s.ask(within, m)
	if err != nil {
		s.log.Error("a host can't be served: the keeper doesn't answer", "asks", string(m.Kind), "source", m.Source, "cause", err)
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { far.Close(); peer.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var asking sync.WaitGroup
	asking.Go(func() {
		io.Copy(far, peer)
		far.CloseWrite()
	})
	if m.Kind == kindEnroll {
		first := make([]byte, 1)
		if n, err := far.Read(first); err == nil && n == 1 { // the answer begins: the request is in
			peer.SetDeadline(time.Now().Add(passTimeout))
			peer.Write(first)
		}
	} else {
		peer.SetDeadline(time.Time{}) // the keeper's end has deadlines
	}
	io.Copy(peer, far)
	peer.SetReadDeadline(time.Unix(1, 0)) // whoever still asks is heard no more
	asking.Wait()
}

// passTimeout bounds the answer to who enrols.
const passTimeout = 20 * time.Second
