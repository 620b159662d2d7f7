package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// TestATakenEngineCantFillItsSupervisor: answers within each single bound, without end.
func TestATakenEngineCantFillItsSupervisor(t *testing.T) {
	ours, its := net.Pipe()
	sent := make(chan int)
	go func() {
		bytesSent := 0
		defer func() { sent <- bytesSent }()
		if _, err := bufio.NewReader(its).ReadString('G'); err != nil { // the question has come, in part
			return
		}
		go func() { // and the rest
			for b := make([]byte, 512); ; {
				if _, err := its.Read(b); err != nil {
					return
				}
			}
		}()
		item := append([]byte("$1048500\r\n"), append(bytes.Repeat([]byte("a"), 1048500), "\r\n"...)...)
		its.Write([]byte("*4096\r\n"))
		for {
			n, err := its.Write(item)
			bytesSent += n
			if err != nil {
				return
			}
		}
	}()
	c := &control{conn: ours, r: bufio.NewReaderSize(ours, 512)}
	if _, err := c.list(context.Background(), "CONFIG", "GET", "*"); !errors.Is(err, errTooMuch) {
		t.Errorf("%v", err)
	}
	c.close()
	if n := <-sent; n > maxAuditText+1<<20 {
		t.Errorf("it took %d bytes", n)
	}
	const line = "id=1 user=default\n"
	many := io.LimitReader(endless(line), 2*mostConnections*int64(len(line)))
	if err := readConnections(bufio.NewReader(many), func(connection) {}); !errors.Is(err, errTooMuch) {
		t.Errorf("more connections than any policy allows: %v", err)
	}
}

// endless is a text again and again, which may be cut between two reads.
type endless string

func (e endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		n += copy(b[n:], e)
	}
	return n, nil
}
