// Command rueidis is an application that uses rueidis, which sends all its
// commands over few pipelined connections and tracks what it caches.
// PROTOCOL=2 keeps it to RESP2.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redoubt-cache/redoubt/test/clients/go/script"
)

func main() {
	client, err := open(script.Address())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(script.Run(os.Stdout, app{client}.behaviours(), os.Args[1:]))
}

type app struct{ rueidis.Client }

func open(address string) (rueidis.Client, error) {
	opt, err := rueidis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	if os.Getenv("PROTOCOL") == "2" {
		opt.AlwaysRESP2 = true
		opt.DisableCache = true // there is no tracking in RESP2
	}
	opt.Dialer.Timeout, opt.ConnWriteTimeout = script.Limit, script.Limit // a busy machine passes what it has
	return rueidis.NewClient(opt)
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
		"client-cache":    a.clientCache,
	}
}

// set writes a value; most behaviours begin with it.
func (a app) set(ctx context.Context, name, value string) error {
	return a.Do(ctx, a.B().Set().Key(script.Key(name)).Value(value).Build()).Error()
}

func (a app) get(ctx context.Context, name string) (string, error) {
	return a.Do(ctx, a.B().Get().Key(script.Key(name)).Build()).ToString()
}

func (a app) setGet(ctx context.Context) error {
	if err := a.set(ctx, "plain", "value"); err != nil {
		return err
	}
	got, err := a.get(ctx, "plain")
	if _, absent := a.get(ctx, "absent"); !rueidis.IsRedisNil(absent) {
		return fmt.Errorf("an absent key: %v", absent)
	}
	return errors.Join(err, script.Equal(got, "value"))
}

func (a app) roundTrip(ctx context.Context, name string, value []byte) error {
	if err := a.set(ctx, name, rueidis.BinaryString(value)); err != nil {
		return err
	}
	got, err := a.get(ctx, name)
	return errors.Join(err, script.Equal([]byte(got), value))
}

func (a app) expire(ctx context.Context) error {
	if err := a.set(ctx, "mortal", "value"); err != nil {
		return err
	}
	if err := a.Do(ctx, a.B().Expire().Key(script.Key("mortal")).Seconds(100).Build()).Error(); err != nil {
		return err
	}
	left, err := a.Do(ctx, a.B().Ttl().Key(script.Key("mortal")).Build()).ToInt64()
	if err != nil || left <= 90 || left > 100 {
		return fmt.Errorf("TTL %d, %v", left, err)
	}
	if err := a.Do(ctx, a.B().Pexpire().Key(script.Key("mortal")).Milliseconds(10).Build()).Error(); err != nil {
		return err
	}
	return script.Until(ctx, func() (bool, error) {
		n, err := a.Do(ctx, a.B().Exists().Key(script.Key("mortal")).Build()).ToInt64()
		return n == 0, err
	})
}

func (a app) pipeline(ctx context.Context) error {
	commands := make(rueidis.Commands, 100)
	for i := range commands {
		commands[i] = a.B().Incr().Key(script.Key("counter")).Build()
	}
	for i, reply := range a.DoMulti(ctx, commands...) {
		n, err := reply.ToInt64()
		if err := errors.Join(err, script.Equal(n, int64(i+1))); err != nil {
			return err
		}
	}
	return nil
}

func (a app) transaction(ctx context.Context) error {
	replies := a.DoMulti(ctx,
		a.B().Multi().Build(),
		a.B().Set().Key(script.Key("tx")).Value("41").Build(),
		a.B().Incr().Key(script.Key("tx")).Build(),
		a.B().Get().Key(script.Key("tx")).Build(),
		a.B().Exec().Build())
	results, err := replies[4].ToArray()
	if err != nil || len(results) != 3 {
		return fmt.Errorf("EXEC gave %d results, %v", len(results), err)
	}
	last, err := results[2].ToString()
	return errors.Join(err, script.Equal(last, "42"))
}

func (a app) watchAbort(ctx context.Context) error {
	err := a.Dedicated(func(c rueidis.DedicatedClient) error {
		if err := c.Do(ctx, c.B().Watch().Key(script.Key("watched")).Build()).Error(); err != nil {
			return err
		}
		if err := a.set(ctx, "watched", "theirs"); err != nil { // over the shared connection
			return err
		}
		replies := c.DoMulti(ctx,
			c.B().Multi().Build(),
			c.B().Set().Key(script.Key("watched")).Value("lost").Build(),
			c.B().Exec().Build())
		if err := replies[2].Error(); !rueidis.IsRedisNil(err) {
			return fmt.Errorf("EXEC after a watched key changed: %v", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	got, err := a.get(ctx, "watched")
	return errors.Join(err, script.Equal(got, "theirs"))
}

func (a app) pubsub(ctx context.Context) error {
	subscriber, release := a.Dedicate()
	defer release()
	confirmed, heard := make(chan struct{}), make(chan rueidis.PubSubMessage, 1)
	closed := subscriber.SetPubSubHooks(rueidis.PubSubHooks{
		OnSubscription: func(s rueidis.PubSubSubscription) {
			if s.Kind == "subscribe" {
				close(confirmed)
			}
		},
		OnMessage: func(m rueidis.PubSubMessage) { heard <- m },
	})
	if err := subscriber.Do(ctx, subscriber.B().Subscribe().Channel(script.Key("news")).Build()).Error(); err != nil {
		return err
	}
	select {
	case <-confirmed:
	case err := <-closed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	reached, err := a.Do(ctx, a.B().Publish().Channel(script.Key("news")).Message("hello").Build()).ToInt64()
	if err != nil {
		return err
	}
	select {
	case m := <-heard:
		return errors.Join(script.Equal(reached, int64(1)), script.Equal(m.Channel, script.Key("news")), script.Equal(m.Message, "hello"))
	case err := <-closed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a app) blpopWoken(ctx context.Context) error {
	type popped struct {
		job []string
		err error
	}
	worker := make(chan popped, 1)
	go func() {
		job, err := a.Do(ctx, a.B().Blpop().Key(script.Key("queue")).Timeout(15).Build()).AsStrSlice()
		worker <- popped{job, err}
	}()
	err := script.Until(ctx, func() (bool, error) {
		info, err := a.Do(ctx, a.B().Info().Section("clients").Build()).ToString()
		return strings.Contains(info, "blocked_clients:1"), err
	})
	if err != nil {
		return err
	}
	if err := a.Do(ctx, a.B().Rpush().Key(script.Key("queue")).Element("job").Build()).Error(); err != nil {
		return err
	}
	got := <-worker
	return errors.Join(got.err, script.Equal(got.job, []string{script.Key("queue"), "job"}))
}

func (a app) blpopTimeout(ctx context.Context) error {
	err := a.Do(ctx, a.B().Blpop().Key(script.Key("empty")).Timeout(0.1).Build()).Error()
	if !rueidis.IsRedisNil(err) {
		return fmt.Errorf("BLPOP of nothing: %v", err)
	}
	return a.Do(ctx, a.B().Ping().Build()).Error()
}

func (a app) hash(ctx context.Context) error {
	fields := a.B().Hset().Key(script.Key("hash")).FieldValue().FieldValue("name", "n").FieldValue("count", "1")
	if err := a.Do(ctx, fields.Build()).Error(); err != nil {
		return err
	}
	count, err := a.Do(ctx, a.B().Hincrby().Key(script.Key("hash")).Field("count").Increment(2).Build()).ToInt64()
	if err != nil {
		return err
	}
	all, err := a.Do(ctx, a.B().Hgetall().Key(script.Key("hash")).Build()).AsStrMap()
	return errors.Join(err, script.Equal(count, int64(3)), script.Equal(all, map[string]string{"name": "n", "count": "3"}))
}

func (a app) zset(ctx context.Context) error {
	members := a.B().Zadd().Key(script.Key("zset")).ScoreMember().ScoreMember(1, "a").ScoreMember(2.5, "b")
	if err := a.Do(ctx, members.Build()).Error(); err != nil {
		return err
	}
	got, err := a.Do(ctx, a.B().Zrange().Key(script.Key("zset")).Min("0").Max("-1").Withscores().Build()).AsZScores()
	return errors.Join(err, script.Equal(got, []rueidis.ZScore{{Member: "a", Score: 1}, {Member: "b", Score: 2.5}}))
}

func (a app) scan(ctx context.Context) error {
	want, found := map[string]bool{}, map[string]bool{}
	var sets rueidis.Commands
	for i := range 200 {
		name := fmt.Sprint(script.Key("scan:"), i)
		want[name] = true
		sets = append(sets, a.B().Set().Key(name).Value("v").Build())
	}
	for _, reply := range a.DoMulti(ctx, sets...) {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	var page rueidis.ScanEntry
	for more := true; more; more = page.Cursor != 0 {
		var err error
		page, err = a.Do(ctx, a.B().Scan().Cursor(page.Cursor).Match(script.Key("scan:*")).Count(50).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		for _, name := range page.Elements {
			found[name] = true
		}
	}
	return script.Equal(found, want)
}

func (a app) wrongPassword(context.Context) error {
	address, err := script.AddressWithWrongPassword()
	if err != nil {
		return err
	}
	intruder, err := open(address)
	if err == nil {
		intruder.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		return fmt.Errorf("a wrong password: %v", err)
	}
	return nil
}

func (a app) refusedCommand(ctx context.Context) error {
	return a.Dedicated(func(c rueidis.DedicatedClient) error {
		before, err := c.Do(ctx, c.B().ClientId().Build()).ToInt64()
		if err != nil {
			return err
		}
		config := script.Refused("CONFIG SET", c.Do(ctx, c.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", "1").Build()).Error())
		flush := script.Refused("FLUSHALL", c.Do(ctx, c.B().Flushall().Build()).Error())
		after, err := c.Do(ctx, c.B().ClientId().Build()).ToInt64()
		return errors.Join(config, flush, err, script.Equal(after, before))
	})
}

// reconnect lets the server close the connection; the client notices.
func (a app) reconnect(ctx context.Context) error {
	if err := a.set(ctx, "kept", "value"); err != nil {
		return err
	}
	if err := a.Do(ctx, a.B().Quit().Build()).Error(); err != nil {
		return err
	}
	got, err := a.get(ctx, "kept")
	return errors.Join(err, script.Equal(got, "value"))
}

// clientCache reads through the client's own cache, and hears from the server
// when the value changes (CLIENT TRACKING).
func (a app) clientCache(ctx context.Context) error {
	if err := a.set(ctx, "near", "old"); err != nil {
		return err
	}
	read := func() (string, bool, error) {
		reply := a.DoCache(ctx, a.B().Get().Key(script.Key("near")).Cache(), time.Minute)
		value, err := reply.ToString()
		return value, reply.IsCacheHit(), err
	}
	if _, hit, err := read(); err != nil || hit {
		return fmt.Errorf("the first read: hit %v, %v", hit, err)
	}
	if value, hit, err := read(); err != nil || !hit || value != "old" {
		return fmt.Errorf("the second read: %q, hit %v, %v", value, hit, err)
	}
	if err := a.set(ctx, "near", "new"); err != nil {
		return err
	}
	return script.Until(ctx, func() (bool, error) {
		value, _, err := read()
		return value == "new", err
	})
}
