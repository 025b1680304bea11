package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Redis is a server of its own.
type Redis struct {
	process
	// Addr is where it listens.
	Addr string
}

// StartRedis starts a server that ends with the test. Arguments are as on its
// command line; it keeps nothing in files unless they say so.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	port := freePort(t)
	r := &Redis{Addr: net.JoinHostPort("127.0.0.1", port)}
	r.process = process{
		t: t, name: "redis-server", path: program(t, "redis-server"),
		args: append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder(t, "redis")}, args...),
		up:   r.ping,
	}
	t.Cleanup(r.Kill)
	r.start()
	return r
}

// URL of a database of the server.
func (r *Redis) URL(db int) string { return fmt.Sprintf("redis://%s/%d", r.Addr, db) }

// Client returns a client of a database, which is closed with the test.
func (r *Redis) Client(t testing.TB, db int) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: r.Addr, DB: db, DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func (r *Redis) ping(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: r.Addr, DialerRetries: 1, MaxRetries: -1})
	defer client.Close()
	err := client.Ping(ctx).Err()
	if _, refused := errors.AsType[redis.Error](err); refused && err.Error() != "LOADING Redis is loading the dataset in memory" {
		return nil // it answers, if only that a password is needed
	}
	return err
}
