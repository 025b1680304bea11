// Command jobs runs Caddy with the Caddyfile of this example, and a server behind it that makes
// reports.
//
//	go run ./examples/jobs
//
// OFFLOAD_ADDR, OFFLOAD_ADMIN, REPORTS, JOBS_STORE and JOBS_PAGE in the environment replace the
// addresses and folders of the Caddyfile.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs"
	"github.com/caddy-offload/caddy-offload/examples/internal/embedded"
	"github.com/caddy-offload/caddy-offload/examples/internal/serve"
	"github.com/caddy-offload/caddy-offload/examples/jobs/reports"
)

//go:embed Caddyfile
var caddyfile []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ready := func() { fmt.Printf("open %s in a browser\n", base()) }
	if err := run(ctx, reports.Server{Pace: reports.Every(time.Second)}, ready); err != nil {
		log.Fatal(err)
	}
}

// base is the URL of the example.
func base() string { return "http://" + cmp.Or(os.Getenv("OFFLOAD_ADDR"), "localhost:8080") }

// run serves until ctx is done, and calls ready when it does.
func run(ctx context.Context, server reports.Server, ready func()) error {
	ln, err := net.Listen("tcp", cmp.Or(os.Getenv("REPORTS"), "127.0.0.1:9005"))
	if err != nil {
		return fmt.Errorf("starting the server of reports: %w", err)
	}
	if err := embedded.Start(caddyfile); err != nil {
		return errors.Join(err, ln.Close())
	}
	ready()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return serve.Until(ctx, ln, &http.Server{Handler: server}, nil)
	})
	all.Go(func() error {
		<-ctx.Done()
		return caddy.Stop()
	})
	return all.Wait()
}
