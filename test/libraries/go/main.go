// Program features does with a Go library what applications do with it; see
// libraries_test.go. It ends with 1 if that failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/gomodule/redigo/redis"
	"github.com/hibiken/asynq"
	goredislib "github.com/redis/go-redis/v9"
)

var features = map[string]func(url string) error{
	"asynq jobs":     asynqJobs,
	"asynq later":    asynqLater,
	"redsync lock":   redsyncLock,
	"redigo cache":   redigoCache,
	"go-redis cache": goRedisCache,
}

func main() {
	f := features[os.Args[1]]
	if f == nil {
		fmt.Fprintf(os.Stderr, "no feature is called %q\n", os.Args[1])
		os.Exit(2)
	}
	if err := f(os.Getenv("REDIS_URL")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const patience = 20 * time.Second

func asynqJobs(url string) error { return asynqRun(url) }

func asynqLater(url string) error { return asynqRun(url, asynq.ProcessIn(time.Second)) }

func asynqRun(url string, options ...asynq.Option) error {
	connection, err := asynq.ParseRedisURI(url)
	if err != nil {
		return err
	}
	done := make(chan struct{}, 1)
	server := asynq.NewServer(connection, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, DelayedTaskCheckInterval: 200 * time.Millisecond})
	mux := asynq.NewServeMux()
	mux.HandleFunc("work", func(context.Context, *asynq.Task) error { done <- struct{}{}; return nil })
	client := asynq.NewClient(connection)
	defer client.Close()
	if _, err := client.Enqueue(asynq.NewTask("work", nil), options...); err != nil {
		return err
	}
	if err := server.Start(mux); err != nil {
		return err
	}
	defer server.Shutdown()
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return errors.New("the job was not done")
	}
}

func goRedis(url string) (*goredislib.Client, error) {
	options, err := goredislib.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return goredislib.NewClient(options), nil
}

func redsyncLock(url string) error {
	client, err := goRedis(url)
	if err != nil {
		return err
	}
	defer client.Close()
	lock := redsync.New(goredis.NewPool(client)).NewMutex("lock")
	if err := lock.Lock(); err != nil {
		return err
	}
	if ok, err := lock.Extend(); err != nil || !ok {
		return fmt.Errorf("extend: %v, %w", ok, err)
	}
	if ok, err := lock.Unlock(); err != nil || !ok {
		return fmt.Errorf("unlock: %v, %w", ok, err)
	}
	return nil
}

func goRedisCache(url string) error {
	client, err := goRedis(url)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Set(ctx, "k", "v", time.Minute).Err(); err != nil {
		return err
	}
	if got, err := client.Get(ctx, "k").Result(); err != nil || got != "v" {
		return fmt.Errorf("get: %q, %w", got, err)
	}
	return client.Del(ctx, "k").Err()
}

func redigoCache(url string) error {
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}
	defer pool.Close()
	c := pool.Get()
	defer c.Close()
	if _, err := c.Do("SET", "k", "v", "EX", 60); err != nil {
		return err
	}
	if got, err := redis.String(c.Do("GET", "k")); err != nil || got != "v" {
		return fmt.Errorf("get: %q, %w", got, err)
	}
	_, err := c.Do("DEL", "k")
	return err
}
