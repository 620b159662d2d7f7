package sidecar

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestOutOfFilesIsLoggedOnce has connections come, one after the other, while the
// process may open nothing; the log tells of the lack's beginning and end only,
// and who came meanwhile is served. On a listener for everybody, and on one for
// some users, which another goroutine accepts.
func TestOutOfFilesIsLoggedOnce(t *testing.T) {
	for name, uids := range map[string][]int{"everybody": nil, "some": {os.Getuid()}} {
		t.Run(name, func(t *testing.T) {
			var log journal
			car, _ := startSidecar(t, Options{
				AllowUIDs: uids,
				Gateways:  one(func(context.Context) (net.Conn, error) { return nil, errors.New("away") }),
				Log:       slog.New(slog.NewTextHandler(&log, nil)),
			})
			outOfFiles(t, car, &log)
		})
	}
}

func outOfFiles(t *testing.T, car *Sidecar, log *journal) {
	const late = 20
	to, err := net.ResolveTCPAddr("tcp4", car.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	address := &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	var sockets []*os.File
	for range late {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		conn := os.NewFile(uintptr(fd), "")
		defer conn.Close()
		sockets = append(sockets, conn)
	}
	giveBack := takeAllFiles(t)
	defer giveBack()
	for _, conn := range sockets {
		if err := syscall.Connect(int(conn.Fd()), address); err != nil {
			t.Fatal(err)
		}
	}
	for late := time.Now().Add(patience); !strings.Contains(log.String(), "too many open files"); {
		if time.Now().After(late) {
			t.Fatal("nothing is logged")
		}
	}
	giveBack()
	for _, conn := range sockets { // all were accepted
		if _, err := conn.WriteString("QUIT\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); string(got) != "+OK\r\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	for late := time.Now().Add(patience); !strings.Contains(log.String(), acceptsAgain); {
		if time.Now().After(late) {
			t.Fatal("its end is not logged")
		}
		conn, err := net.Dial("tcp", car.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		lab.NewClient(t, conn).Want("+OK\r\n", "QUIT")
		conn.Close() // hundreds may be made meanwhile
	}
	if f, a := strings.Count(log.String(), cantAccept), strings.Count(log.String(), acceptsAgain); f != a {
		t.Errorf("%d times said that it fails, %d times that it works again", f, a)
	}
}

// takeAllFiles leaves the process no descriptor, until giveBack.
func takeAllFiles(t *testing.T) (giveBack func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = 256 // else there are a million to take
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := syscall.Dup(2)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	return func() {
		for _, fd := range taken {
			syscall.Close(fd)
		}
		taken = nil
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	}
}
