package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
	"github.com/caddy-offload/caddy-offload/internal/services"
)

// direct is a small scene without Caddy: clients connect to the worker
// itself.
func direct(t *testing.T) *scene {
	t.Helper()
	var ports services.Ports
	addr, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	ports.Release()
	base := "http://" + addr
	return &scene{
		key: "direct", title: "direct", backend: newFactorial, addr: addr,
		blocking: base + "/factorial/100", fast: base + "/ping", permits: 1,
	}
}

func TestPlay(t *testing.T) {
	t.Parallel()
	s := direct(t)
	if err := s.measured(t.Context(), func(c *load.Client) error {
		return s.measure(t.Context(), c, "/factorial/100")
	}); err != nil {
		t.Fatal(err)
	}
	m := mode{title: "as a test", patience: time.Minute, limit: time.Minute}
	got, err := s.play(t.Context(), m, load.NewProgress(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if got.Completed != clients*each || got.Lost != 0 || got.Fast.Completed == 0 || got.Fast.Lost != 0 {
		t.Errorf("%+v", got)
	}
}

// hook is a backend that calls a function for the blocking route and answers
// all other requests immediately.
type hook func(r *http.Request)

func (h hook) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ping" {
			h(r)
		}
	})}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func TestPlayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := direct(t)
	s.backend = func() backend {
		return hook(func(r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
	}
	m := mode{patience: time.Minute, limit: time.Minute}
	if _, err := s.play(ctx, m, load.NewProgress(io.Discard)); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("the upstream is still there")
	}
}

func TestNobodyIsReady(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no more time"))
	c := load.NewClient(time.Second)
	defer c.Close()
	if err := load.Ready(ctx, c, "http://127.0.0.1:1/"); err == nil || !strings.Contains(err.Error(), "no more time") {
		t.Errorf("%v", err)
	}
}

func TestAddresses(t *testing.T) {
	t.Setenv("OFFLOAD_ADDR", "127.0.0.1:81")
	for _, name := range []string{"OFFLOAD_ADMIN", "FACTORIAL_UPSTREAM", "SLOW_UPSTREAM"} {
		t.Setenv(name, "") // so that the test restores it
		os.Unsetenv(name)
	}
	a, err := chooseAddresses(false)
	if err != nil || a.base() != "http://127.0.0.1:81" || a.factorial != "127.0.0.1:9001" || a.admin != "localhost:2019" {
		t.Errorf("%+v, %v", a, err)
	}
	if got := os.Getenv("SLOW_UPSTREAM"); got != a.slow {
		t.Errorf("the Caddyfile would see %q", got)
	}
	for _, name := range []string{"OFFLOAD_ADDR", "OFFLOAD_ADMIN", "FACTORIAL_UPSTREAM", "SLOW_UPSTREAM"} {
		os.Unsetenv(name)
	}
	a, err = chooseAddresses(true)
	if err != nil || !strings.HasPrefix(a.base(), "http://127.0.0.1:") || strings.HasSuffix(a.base(), ":8080") {
		t.Errorf("%+v, %v", a, err)
	}
}
