package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// server is an engine that a test can make misbehave: AUTH, SET and GET over
// real TCP.
type server struct {
	listener net.Listener
	asked    atomic.Int64 // GETs and SETs
	// answer may change what is sent for the n-th request; "" closes.
	answer func(n int64, right string) string

	mu     sync.Mutex
	values map[string]string
	served sync.WaitGroup
}

func serve(t *testing.T, answer func(n int64, right string) string) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{listener: ln, answer: answer, values: map[string]string{}}
	s.served.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.served.Go(func() { s.one(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.served.Wait()
		goleak.VerifyNone(t)
	})
	return s
}

func (s *server) target() target {
	return target{address: s.listener.Addr().String(), password: "secret"}
}

func (s *server) one(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		args, err := command(in)
		if err != nil {
			return
		}
		reply := "+OK\r\n"
		switch s.mu.Lock(); args[0] {
		case "SET":
			s.values[args[1]] = args[2]
		case "GET":
			v := s.values[args[1]]
			reply = fmt.Sprintf("$%d\r\n%s\r\n", len(v), v)
		}
		s.mu.Unlock()
		if args[0] != "AUTH" {
			if n := s.asked.Add(1); s.answer != nil {
				reply = s.answer(n, reply)
			}
		}
		if _, err := io.WriteString(conn, reply); err != nil || reply == "" {
			return
		}
	}
}

func command(in *bufio.Reader) (args []string, err error) {
	number := func() (n int) {
		line, readErr := in.ReadString('\n')
		if err == nil {
			err = readErr
		}
		if len(line) > 1 {
			fmt.Sscan(strings.TrimSpace(line[1:]), &n)
		}
		return n
	}
	for range number() {
		arg := make([]byte, number()+2)
		if err != nil {
			break
		}
		if _, err = io.ReadFull(in, arg); err != nil {
			break
		}
		args = append(args, string(arg[:len(arg)-2]))
	}
	if err == nil && len(args) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return args, err
}
