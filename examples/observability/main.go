// Command observability runs Caddy with the Caddyfile of this example, a slow
// server behind it, and traffic for the dashboard.
//
//	go run ./examples/observability
//
// OFFLOAD_ADDR, OFFLOAD_METRICS, OFFLOAD_ADMIN and SLOW_UPSTREAM in the environment
// replace the addresses of the Caddyfile. OFFLOAD_JOBS is the folder of the store of jobs;
// without it the store is removed at the end.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs" // plugged in
	"github.com/caddy-offload/caddy-offload/examples/internal/embedded"
	"github.com/caddy-offload/caddy-offload/examples/slowupstream/upstream"
)

//go:embed Caddyfile
var caddyfile []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context) error {
	if os.Getenv("OFFLOAD_JOBS") == "" {
		folder, err := os.MkdirTemp("", "jobs-")
		if err != nil {
			return fmt.Errorf("making the store of jobs: %w", err)
		}
		defer os.RemoveAll(folder)
		if err := os.Setenv("OFFLOAD_JOBS", folder); err != nil {
			return fmt.Errorf("setting the store of jobs: %w", err)
		}
	}
	ln, err := net.Listen("tcp", cmp.Or(os.Getenv("SLOW_UPSTREAM"), "127.0.0.1:9002"))
	if err != nil {
		return fmt.Errorf("starting the slow server: %w", err)
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return upstream.New(upstream.Options{}).Serve(ctx, ln) })
	if err := embedded.Start(caddyfile); err != nil {
		return errors.Join(err, ln.Close())
	}
	base := "http://" + dialable(cmp.Or(os.Getenv("OFFLOAD_ADDR"), ":8080"))
	fmt.Printf("serving %s, with traffic, until Ctrl-C; metrics at http://%s/metrics\n",
		base, cmp.Or(os.Getenv("OFFLOAD_METRICS"), "127.0.0.1:9180"))
	all.Go(func() error {
		newTraffic(base).run(ctx)
		return caddy.Stop()
	})
	return all.Wait()
}

// dialable returns the address for connections to a server that listens on addr.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
