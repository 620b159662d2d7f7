package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"
)

// BenchmarkGET goes through a real engine: one peer, one command at a time, for
// two sizes of value. Compare with the engine alone: redis-benchmark -s SOCKET.
func BenchmarkGET(b *testing.B) {
	path, _ := redis(b)
	for _, size := range []int{256, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			g := start(b, path, nil)
			conn := g.dial()
			conn.SetDeadline(time.Now().Add(time.Hour))
			ask(b, conn, "SET", "k", string(bytes.Repeat([]byte("v"), size)))
			command, reply := []byte(encode("GET", "k")), make([]byte, len(fmt.Sprintf("$%d\r\n\r\n", size))+size)
			b.SetBytes(int64(len(reply)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(command); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPipeline sends 100 commands at once.
func BenchmarkPipeline(b *testing.B) {
	path, _ := redis(b)
	g := start(b, path, nil)
	conn := g.dial()
	conn.SetDeadline(time.Now().Add(time.Hour))
	commands, reply := bytes.Repeat([]byte(encode("PING")), 100), make([]byte, 100*len("+PONG\r\n"))
	for b.Loop() {
		if _, err := conn.Write(commands); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, reply); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnect is a whole connection: handshake, PING, end.
func BenchmarkConnect(b *testing.B) {
	path, _ := redis(b)
	g := start(b, path, nil)
	for b.Loop() {
		conn := g.dial()
		ask(b, conn, "PING")
		conn.Close()
	}
}

// BenchmarkIdleMemory reports what an idle connection holds of this process, both
// ends of it: about half is the gateway's.
func BenchmarkIdleMemory(b *testing.B) {
	const conns = 1000
	manyFiles(b, 3*conns+200)
	path, _ := redis(b)
	for b.Loop() {
		g := start(b, path, nil)
		before := memory()
		for range conns {
			ask(b, g.dial(), "PING")
		}
		b.ReportMetric(float64(memory()-before)/conns/1024, "KB/conn")
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
