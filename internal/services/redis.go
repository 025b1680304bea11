package services

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

// Redis starts a Redis server on addr that keeps its data in memory. Additional
// arguments are as on its command line.
func Redis(ctx context.Context, addr, folder string, more ...string) (*Server, error) {
	return RedisLike(ctx, "redis-server", addr, folder, more...)
}

// RedisLike starts another server with the command line and the protocol of Redis.
func RedisLike(ctx context.Context, program, addr, folder string, more ...string) (*Server, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	args := []string{program, "--bind", host, "--port", port, "--dir", folder, "--save", "", "--appendonly", "no"}
	return StartServer(ctx, Program{
		Name: "Redis",
		Args: append(args, more...),
		Log:  filepath.Join(folder, "redis.log"),

		Package: "redis-server",
	}, func(ctx context.Context) error { return greet(ctx, addr, "PING\r\n", "+PONG") })
}

// Listening returns a check that fails if no server listens on addr.
func Listening(addr string) func(context.Context) error {
	return func(ctx context.Context) error { return greet(ctx, addr, "", "") }
}

// errWrongAnswer means that the expected server does not listen on the address, or
// not yet.
var errWrongAnswer = errors.New("unexpected answer")

// greet sends data to a server and compares the beginning of its answer.
func greet(ctx context.Context, addr, hello, answer string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte(hello)); err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).Peek(len(answer))
	if err != nil {
		return err
	}
	if string(got) != answer {
		return fmt.Errorf("%w %q", errWrongAnswer, got)
	}
	return nil
}
