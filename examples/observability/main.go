// Command observability runs Caddy with the Caddyfile of this example, a slow
// server behind it, and traffic for the dashboard.
//
//	go run ./examples/observability
//
// OFFLOAD_ADDR, OFFLOAD_METRICS, OFFLOAD_ADMIN and SLOW_UPSTREAM in the environment
// replace the addresses of the Caddyfile.
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
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
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
	ln, err := net.Listen("tcp", cmp.Or(os.Getenv("SLOW_UPSTREAM"), "127.0.0.1:9002"))
	if err != nil {
		return fmt.Errorf("starting the slow server: %w", err)
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return upstream.New(upstream.Options{}).Serve(ctx, ln) })
	if err := startCaddy(); err != nil {
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

func startCaddy() error {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return fmt.Errorf("adapting the Caddyfile: %w", err)
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	return nil
}

// dialable returns the address for connections to a server that listens on addr.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
