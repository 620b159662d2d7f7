// Command goredis is an application that uses go-redis. PROTOCOL chooses the
// RESP version.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redoubt-cache/redoubt/test/clients/go/script"
)

func main() {
	app, err := connect()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(script.Run(os.Stdout, app.behaviours(), os.Args[1:]))
}

// app is one application with its client, which keeps a pool of connections.
type app struct {
	*redis.Client
	protocol int
}

func connect() (app, error) {
	protocol, err := strconv.Atoi(os.Getenv("PROTOCOL"))
	if err != nil {
		return app{}, err
	}
	client, err := open(script.Address(), protocol)
	return app{client, protocol}, err
}

func open(address string, protocol int) (*redis.Client, error) {
	opt, err := redis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	opt.Protocol = protocol
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = script.Limit, script.Limit, script.Limit // a busy machine passes the 3 s that it has
	return redis.NewClient(opt), nil
}

func (a app) behaviours() script.Table {
	return script.Table{
		"set-get":         a.setGet,
		"binary-value":    func(ctx context.Context) error { return a.roundTrip(ctx, "binary", script.EveryByte()) },
		"large-value":     func(ctx context.Context) error { return a.roundTrip(ctx, "large", script.Megabyte()) },
		"expire":          a.expire,
		"pipeline":        a.pipeline,
		"transaction":     a.transaction,
		"watch-abort":     a.watchAbort,
		"pubsub":          a.pubsub,
		"blpop-woken":     a.blpopWoken,
		"blpop-timeout":   a.blpopTimeout,
		"hash":            a.hash,
		"zset":            a.zset,
		"scan":            a.scan,
		"wrong-password":  a.wrongPassword,
		"refused-command": a.refusedCommand,
		"reconnect":       a.reconnect,
	}
}

func (a app) setGet(ctx context.Context) error {
	if err := a.Set(ctx, script.Key("plain"), "value", 0).Err(); err != nil {
		return err
	}
	got, err := a.Get(ctx, script.Key("plain")).Result()
	if err != nil {
		return err
	}
	if err := a.Get(ctx, script.Key("absent")).Err(); !errors.Is(err, redis.Nil) {
		return fmt.Errorf("an absent key: %v", err)
	}
	return script.Equal(got, "value")
}

func (a app) roundTrip(ctx context.Context, name string, value []byte) error {
	if err := a.Set(ctx, script.Key(name), value, 0).Err(); err != nil {
		return err
	}
	got, err := a.Get(ctx, script.Key(name)).Bytes()
	if err != nil {
		return err
	}
	return script.Equal(got, value)
}

func (a app) expire(ctx context.Context) error {
	if err := a.Set(ctx, script.Key("mortal"), "value", 100*time.Second).Err(); err != nil {
		return err
	}
	left, err := a.TTL(ctx, script.Key("mortal")).Result()
	if err != nil || left <= 90*time.Second || left > 100*time.Second {
		return fmt.Errorf("TTL %v, %v", left, err)
	}
	if err := a.PExpire(ctx, script.Key("mortal"), 10*time.Millisecond).Err(); err != nil {
		return err
	}
	return script.Until(ctx, func() (bool, error) {
		n, err := a.Exists(ctx, script.Key("mortal")).Result()
		return n == 0, err
	})
}

func (a app) pipeline(ctx context.Context) error {
	replies, err := a.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range 100 {
			p.Incr(ctx, script.Key("counter"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, reply := range replies {
		if err := script.Equal(reply.(*redis.IntCmd).Val(), int64(i+1)); err != nil {
			return err
		}
	}
	return script.Equal(len(replies), 100)
}

func (a app) transaction(ctx context.Context) error {
	var last *redis.StringCmd
	_, err := a.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, script.Key("tx"), 41, 0)
		p.Incr(ctx, script.Key("tx"))
		last = p.Get(ctx, script.Key("tx"))
		return nil
	})
	if err != nil {
		return err
	}
	return script.Equal(last.Val(), "42")
}

func (a app) watchAbort(ctx context.Context) error {
	err := a.Watch(ctx, func(tx *redis.Tx) error {
		if err := a.Set(ctx, script.Key("watched"), "theirs", 0).Err(); err != nil { // another connection of the pool
			return err
		}
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			return p.Set(ctx, script.Key("watched"), "lost", 0).Err()
		})
		return err
	}, script.Key("watched"))
	if !errors.Is(err, redis.TxFailedErr) {
		return fmt.Errorf("EXEC after a watched key changed: %v", err)
	}
	got, err := a.Get(ctx, script.Key("watched")).Result()
	if err != nil {
		return err
	}
	return script.Equal(got, "theirs")
}

func (a app) pubsub(ctx context.Context) error {
	subscriber := a.Subscribe(ctx, script.Key("news"))
	defer subscriber.Close()
	if _, err := subscriber.Receive(ctx); err != nil { // the confirmation
		return err
	}
	heard, err := a.Publish(ctx, script.Key("news"), "hello").Result()
	if err != nil {
		return err
	}
	message, err := subscriber.ReceiveMessage(ctx)
	if err != nil {
		return err
	}
	return errors.Join(script.Equal(heard, int64(1)), script.Equal(message.Channel, script.Key("news")), script.Equal(message.Payload, "hello"))
}

func (a app) blpopWoken(ctx context.Context) error {
	type popped struct {
		job []string
		err error
	}
	worker := make(chan popped, 1)
	go func() {
		job, err := a.BLPop(ctx, 15*time.Second, script.Key("queue")).Result()
		worker <- popped{job, err}
	}()
	err := script.Until(ctx, func() (bool, error) {
		info, err := a.Info(ctx, "clients").Result()
		return strings.Contains(info, "blocked_clients:1"), err
	})
	if err != nil {
		return err
	}
	if err := a.RPush(ctx, script.Key("queue"), "job").Err(); err != nil {
		return err
	}
	got := <-worker
	return errors.Join(got.err, script.Equal(got.job, []string{script.Key("queue"), "job"}))
}

func (a app) blpopTimeout(ctx context.Context) error {
	if err := a.Do(ctx, "BLPOP", script.Key("empty"), "0.1").Err(); !errors.Is(err, redis.Nil) {
		return fmt.Errorf("BLPOP of nothing: %v", err)
	}
	return a.Ping(ctx).Err()
}

func (a app) hash(ctx context.Context) error {
	added, err := a.HSet(ctx, script.Key("hash"), "name", "n", "count", 1).Result()
	if err != nil {
		return err
	}
	count, err := a.HIncrBy(ctx, script.Key("hash"), "count", 2).Result()
	if err != nil {
		return err
	}
	all, err := a.HGetAll(ctx, script.Key("hash")).Result()
	return errors.Join(err, script.Equal(added, int64(2)), script.Equal(count, int64(3)),
		script.Equal(all, map[string]string{"name": "n", "count": "3"}))
}

func (a app) zset(ctx context.Context) error {
	members := []redis.Z{{Score: 1, Member: "a"}, {Score: 2.5, Member: "b"}}
	if err := a.ZAdd(ctx, script.Key("zset"), members...).Err(); err != nil {
		return err
	}
	got, err := a.ZRangeWithScores(ctx, script.Key("zset"), 0, -1).Result()
	if err != nil {
		return err
	}
	rank, err := a.ZRank(ctx, script.Key("zset"), "b").Result()
	return errors.Join(err, script.Equal(got, members), script.Equal(rank, int64(1)))
}

func (a app) scan(ctx context.Context) error {
	want, found := map[string]bool{}, map[string]bool{}
	_, err := a.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 200 {
			name := fmt.Sprint(script.Key("scan:"), i)
			want[name] = true
			p.Set(ctx, name, "v", 0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	pages := a.Scan(ctx, 0, script.Key("scan:*"), 50).Iterator()
	for pages.Next(ctx) {
		found[pages.Val()] = true
	}
	return errors.Join(pages.Err(), script.Equal(found, want))
}

func (a app) wrongPassword(ctx context.Context) error {
	address, err := script.AddressWithWrongPassword()
	if err != nil {
		return err
	}
	intruder, err := open(address, a.protocol)
	if err != nil {
		return err
	}
	defer intruder.Close()
	if err := intruder.Ping(ctx).Err(); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		return fmt.Errorf("a wrong password: %v", err)
	}
	return nil
}

func (a app) refusedCommand(ctx context.Context) error {
	conn := a.Conn()
	defer conn.Close()
	before, err := conn.ClientID(ctx).Result()
	if err != nil {
		return err
	}
	config := script.Refused("CONFIG SET", conn.ConfigSet(ctx, "maxmemory", "1").Err())
	flush := script.Refused("FLUSHALL", conn.FlushAll(ctx).Err())
	after, err := conn.ClientID(ctx).Result()
	return errors.Join(config, flush, err, script.Equal(after, before))
}

// reconnect lets the server close the connection; the pool notices.
func (a app) reconnect(ctx context.Context) error {
	if err := a.Set(ctx, script.Key("kept"), "value", 0).Err(); err != nil {
		return err
	}
	if err := a.Do(ctx, "QUIT").Err(); err != nil {
		return err
	}
	got, err := a.Get(ctx, script.Key("kept")).Result()
	return errors.Join(err, script.Equal(got, "value"))
}
