// Program comeback holds a connection of a Go library in a state; see
// ../../comeback_test.go.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/hibiken/asynq"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

var (
	url   = os.Getenv("REDIS_URL")
	key   = os.Getenv("KEY")
	lines = bufio.NewScanner(os.Stdin)
	ctx   = context.Background()
)

var states = map[string]func(){
	"go-redis command": func() {
		r := goRedis()
		onLines(func() error { return errors.Join(r.Set(ctx, key, "v", 0).Err(), r.Get(ctx, key).Err()) })
	},
	"go-redis blocked": func() {
		r := goRedis()
		forEver(func() error { return r.BLPop(ctx, 0, key).Err() })
	},
	"go-redis subscribed": func() {
		for range goRedis().Subscribe(ctx, key).Channel() {
			say("ok")
		}
	},
	"go-redis transaction": func() {
		r := goRedis()
		onLines(func() error {
			return r.Watch(ctx, func(tx *goredis.Tx) error {
				if err := tx.Get(ctx, key).Err(); err != nil && err != goredis.Nil {
					return err
				}
				say("watched")
				nextLine()
				_, err := tx.TxPipelined(ctx, func(p goredis.Pipeliner) error { return p.Set(ctx, key, "v", 0).Err() })
				return err
			}, key)
		})
	},
	"rueidis command": func() {
		r := rueidisClient()
		onLines(func() error {
			return errors.Join(r.Do(ctx, r.B().Set().Key(key).Value("v").Build()).Error(), r.Do(ctx, r.B().Get().Key(key).Build()).Error())
		})
	},
	"rueidis blocked": func() {
		r := rueidisClient()
		forEver(func() error { return r.Do(ctx, r.B().Blpop().Key(key).Timeout(0).Build()).Error() })
	},
	"rueidis subscribed": func() {
		r := rueidisClient()
		forEver(func() error {
			return r.Receive(ctx, r.B().Subscribe().Channel(key).Build(), func(rueidis.PubSubMessage) { say("ok") })
		})
	},
	"rueidis transaction": func() {
		r := rueidisClient()
		onLines(func() error {
			return r.Dedicated(func(c rueidis.DedicatedClient) error {
				if err := c.Do(ctx, c.B().Watch().Key(key).Build()).Error(); err != nil {
					return err
				}
				say("watched")
				nextLine()
				for _, reply := range c.DoMulti(ctx, c.B().Multi().Build(), c.B().Set().Key(key).Value("v").Build(), c.B().Exec().Build()) {
					if err := reply.Error(); err != nil {
						return err
					}
				}
				return nil
			})
		})
	},
	"asynq worker": func() {
		connection, err := asynq.ParseRedisURI(url)
		if err != nil {
			panic(err)
		}
		go func() {
			client := asynq.NewClient(connection)
			for {
				nextLine()
				client.Enqueue(asynq.NewTask("work", nil), asynq.Queue(key), asynq.MaxRetry(0)) // the worker is asked, not this
			}
		}()
		server := asynq.NewServer(connection, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, Queues: map[string]int{key: 1}})
		err = server.Run(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { say("ok"); return nil }))
		say(fmt.Sprint("ended ", err))
	},
	"redigo command": func() {
		pool := redigoPool()
		onLines(func() error {
			c := pool.Get()
			defer c.Close()
			if _, err := c.Do("SET", key, "v"); err != nil {
				return err
			}
			_, err := c.Do("GET", key)
			return err
		})
	},
	"redigo blocked": func() {
		pool := redigoPool()
		forEver(func() error {
			c := pool.Get()
			defer c.Close()
			_, err := c.Do("BLPOP", key, 0)
			return err
		})
	},
	"redigo subscribed": func() {
		pool := redigoPool()
		forEver(func() error {
			c := redis.PubSubConn{Conn: pool.Get()}
			defer c.Close()
			if err := c.Subscribe(key); err != nil {
				return err
			}
			for {
				switch m := c.Receive().(type) {
				case redis.Message:
					say("ok")
				case error:
					return m
				}
			}
		})
	},
	"redigo transaction": func() {
		pool := redigoPool()
		onLines(func() error {
			c := pool.Get()
			defer c.Close()
			if _, err := c.Do("WATCH", key); err != nil {
				return err
			}
			say("watched")
			nextLine()
			c.Send("MULTI")
			c.Send("SET", key, "v")
			reply, err := c.Do("EXEC")
			if err == nil && reply == nil {
				err = errors.New("the transaction was not run")
			}
			return err
		})
	},
}

func main() {
	do := states[strings.Join(os.Args[1:], " ")]
	if do == nil {
		os.Exit(2)
	}
	goredis.SetLogger(silent{})
	do()
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func goRedis() *goredis.Client {
	options, err := goredis.ParseURL(url)
	must(err)
	return goredis.NewClient(options)
}

func rueidisClient() rueidis.Client {
	options, err := rueidis.ParseURL(url)
	must(err)
	c, err := rueidis.NewClient(options)
	must(err)
	return c
}

func redigoPool() *redis.Pool {
	return &redis.Pool{MaxIdle: 3, DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialURLContext(ctx, url) }}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func say(text string) { fmt.Println(strings.ReplaceAll(text, "\n", " ")) }

func attempt(do func() error) bool {
	if err := do(); err != nil {
		say(fmt.Sprintf("err %T: %v", err, err))
		return false
	}
	say("ok")
	return true
}

func nextLine() {
	if !lines.Scan() {
		os.Exit(0)
	}
}

func onLines(do func() error) {
	for {
		nextLine()
		attempt(do)
	}
}

func forEver(do func() error) {
	for {
		if !attempt(do) {
			<-time.After(100 * time.Millisecond)
		}
	}
}
