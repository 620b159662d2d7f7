//go:build slow && linux

package scale_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// crowdVariable makes this binary a crowd: a process of its own, since the files
// that one may open are limited.
const crowdVariable = "REDOUBT_SCALE_CROWD"

// crowd is connections that each say the same, get the right answer, and then
// stay and are silent.
type crowd struct {
	Address   string
	Size      int
	Say, Want string
}

// gather starts a crowd and returns when all are there. It ends with the test.
func gather(t testing.TB, c crowd) {
	t.Helper()
	order, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crowdVariable+"=yes")
	cmd.Stdin = bytes.NewReader(order) // not an argument: it has the password
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	lab.Start(t, cmd, "all are there")
}

// beCrowd is the crowd's process, until it is ended from outside.
func beCrowd(order io.Reader, out io.Writer) int {
	var c crowd
	err := json.NewDecoder(order).Decode(&c)
	if err == nil {
		err = c.come()
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintln(out, "all are there")
	select {} // SIGTERM ends it
}

func (c crowd) come() error {
	errs := make([]error, c.Size)
	var wait sync.WaitGroup
	places := make(chan struct{}, 100)
	for i := range c.Size {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			if err := greet(c.Address, i, c.Say, c.Want); err != nil {
				errs[i] = fmt.Errorf("connection %d of %d: %w", i+1, c.Size, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// greet makes one connection of a crowd, from one of 200 addresses: an address
// has 28,000 ports, each of which is held for a minute after its connection.
func greet(address string, number int, say, want string) error {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+number%200))}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	staying.Store(number, conn)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err = io.WriteString(conn, say); err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if err == nil && string(got) != want {
		err = fmt.Errorf("the answer was %q", got)
	}
	return err
}

// staying keeps the crowd's connections from the collector, which would close them.
var staying sync.Map

// used is what a client library does before it idles in a pool.
func used(address string, n int, password string) crowd {
	return crowd{address, n, lab.Encode("AUTH", password) + lab.Encode("GET", "nothing"), "+OK\r\n$-1\r\n"}
}

// subscribed are connections that need lanes of their own for good.
func subscribed(address string, n int, password string) crowd {
	return crowd{address, n, lab.Encode("AUTH", password) + lab.Encode("SUBSCRIBE", "c"), "+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"}
}

// each is what every one of n added, in KB.
func each(before, after int64, n int) float64 { return float64(after-before) / float64(n) / 1024 }

// BenchmarkIdle says what a connection costs that is open and silent.
func BenchmarkIdle(b *testing.B) {
	b.Run("plain/10000", func(b *testing.B) {
		const n = 10_000
		for b.Loop() {
			b.ReportMetric(0, "ns/op")
			p := newPlain(b, "password")
			before := mustExamine(b, p.pid, "")
			gather(b, used(p.address, n, "password"))
			b.ReportMetric(each(before.RSS, mustExamine(b, p.pid, "").RSS, n), "engine-RSS-KB/conn-at-once")
			b.ReportMetric(each(before.RSS, settled(b, p.pid), n), "engine-RSS-KB/conn")
		}
	})
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("redoubt/%d", n), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(0, "ns/op")
				idle(b, n, used)
			}
		})
	}
	b.Run("redoubt-subscribed/1000", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(0, "ns/op")
			idle(b, 1000, subscribed)
		}
	})
}

func idle(b *testing.B, n int, of func(string, int, string) crowd) {
	s := newSite(b)
	sidecar := s.startSidecar()
	lab.Connect(b, sidecar.address, s.Password).Want("+PONG\r\n", "PING") // makes the lane that all share
	engine := child(b, s.gateway.PID())
	carBefore, gateBefore, engineBefore := sidecar.examine(b), s.gateway.examine(b), mustExamine(b, engine, "")
	gather(b, of(sidecar.address, n, s.Password))
	car, gate := sidecar.examine(b), s.gateway.examine(b)
	b.ReportMetric(each(carBefore.RSS, car.RSS, n), "sidecar-RSS-KB/conn")
	b.ReportMetric(each(int64(carBefore.Heap), int64(car.Heap), n), "sidecar-heap-KB/conn")
	b.ReportMetric(float64(car.Goroutines-carBefore.Goroutines)/float64(n), "sidecar-goroutines/conn")
	b.ReportMetric(each(gateBefore.RSS, gate.RSS, n), "gateway-RSS-KB/conn")
	b.ReportMetric(each(engineBefore.RSS, settled(b, engine), n), "engine-RSS-KB/conn")
}

// settled waits until a process's resident memory stays: an engine gives an idle
// client's buffers back, within some ten seconds.
func settled(b *testing.B, pid int) int64 {
	b.Helper()
	const still = 5 // seconds
	last := int64(0)
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for same, all := 0, 0; same < still && all < 60; all++ {
		<-seconds.C
		rss := mustExamine(b, pid, "").RSS
		if same++; max(rss, last)-min(rss, last) > 256<<10 {
			last, same = rss, 0
		}
	}
	return last
}
