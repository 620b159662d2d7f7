package bench

import (
	"bytes"
	"context"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// exchange is what a load sends at once on a connection, and what must come
// back, byte for byte.
type exchange struct {
	request []byte
	reply   []byte
	one     int // bytes of one counted reply
	set     []byte
}

func newExchange(l Load, password string) exchange {
	key := fmt.Sprintf("redoubt:bench:%d", l.ValueSize)
	value := make([]byte, l.ValueSize)
	for i := range value {
		value[i] = 'a' + byte(i%23) // so that a shift shows
	}
	x := exchange{set: resp.AppendCommand(nil, []byte("SET"), []byte(key), value)}
	request, reply := x.set, []byte("+OK\r\n")
	if !l.Set {
		request, reply = resp.AppendCommand(nil, "GET", key), resp.AppendBulk(nil, value)
	}
	if l.Churn {
		request = append(resp.AppendCommand(nil, "AUTH", password), request...)
		reply = append([]byte("+OK\r\n"), reply...)
	}
	x.request, x.reply, x.one = bytes.Repeat(request, l.Pipeline), bytes.Repeat(reply, l.Pipeline), len(reply)
	return x
}

// startOfWrong finds where in bytes, which follow the first got of the reply,
// the one begins that differs.
func (x exchange) startOfWrong(in []byte, got int) int {
	i := 0
	for in[i] == x.reply[got+i] {
		i++
	}
	return max((got+i)/x.one*x.one-got, 0)
}

// preload stores what GET is going to find.
func (x exchange) preload(ctx context.Context, t target) error {
	l, err := dial(ctx, t)
	if err != nil {
		return err
	}
	defer l.wire.Close()
	if err := l.do(x.set, []byte("+OK\r\n")); err != nil {
		return fmt.Errorf("SET: %w", err)
	}
	return nil
}
