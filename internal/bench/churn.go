package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// measureChurnTLS is the load of new connections on a target that speaks TLS
// itself. crypto/tls can't interrupt a handshake, so each worker is a goroutine
// that blocks; a handshake costs so much that this is not what one sees.
func measureChurnTLS(ctx context.Context, t target, x exchange, l Load, warmup, duration time.Duration) (*recorder, error) {
	started := time.Now()
	recorders, errs := make([]*recorder, l.Connections), make([]error, l.Connections)
	var workers sync.WaitGroup
	for i := range l.Connections {
		recorders[i] = newRecorder()
		workers.Go(func() {
			errs[i] = churnTLS(ctx, t, x, started.Add(warmup), duration, recorders[i])
		})
	}
	workers.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, err
		}
		if i > 0 {
			recorders[0].merge(recorders[i])
		}
	}
	if recorders[0].count == 0 {
		return nil, fmt.Errorf("not one answer within %v", duration)
	}
	return recorders[0], nil
}

func churnTLS(ctx context.Context, t target, x exchange, begin time.Time, duration time.Duration, r *recorder) error {
	for {
		since := time.Now()
		if since.Sub(begin) >= duration {
			return nil
		}
		if err := once(ctx, t, x); err != nil {
			return err
		}
		if at := time.Since(begin); at >= 0 && at < duration {
			r.count++
			r.add(time.Since(since), 1)
		}
	}
}

// once makes a connection, authenticates with it, asks once, and closes.
func once(ctx context.Context, t target, x exchange) error {
	l, err := open(ctx, t)
	if err != nil {
		return err
	}
	defer l.wire.Close()
	return l.do(x.request, x.reply)
}
