// Command gpu runs Caddy with the Caddyfile of this example, a stand-in for a server of
// language models behind it, and a small scene of two users.
//
//	go run ./examples/gpu
//
// OFFLOAD_ADDR, OFFLOAD_ADMIN, GPU_SMALL and GPU_LARGE in the environment replace the
// addresses of the Caddyfile.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/examples/gpu/modelserver"
	"github.com/caddy-offload/caddy-offload/examples/internal/embedded"
)

//go:embed Caddyfile
var caddyfile []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	gpu := modelserver.New(modelserver.Options{})
	err := run(ctx, gpu, func(ctx context.Context) error { return show(ctx, os.Stdout, gpu) })
	if err != nil {
		log.Fatal(err)
	}
}

// show prints how to use the example, and plays the scene.
func show(ctx context.Context, out io.Writer, gpu *modelserver.GPU) error {
	fmt.Fprintf(out, `
two models: %[1]s/small/v1 and %[1]s/large/v1
users: key-anna, key-ben, key-carl, key-nightly

  curl -N %[1]s/small/v1/chat/completions -H 'Authorization: Bearer key-anna' \
    -d '{"model": "small", "stream": true, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}'
  curl %[2]s/offload/pools/gpu/running

`, base(), adminBase())
	if err := newScene(base()).play(ctx, out, gpu); err != nil {
		return err
	}
	if ctx.Err() == nil {
		fmt.Fprintln(out, "\nserving until Ctrl-C")
	}
	return nil
}

// base is the URL of the site.
func base() string { return "http://" + cmp.Or(os.Getenv("OFFLOAD_ADDR"), "127.0.0.1:8080") }

// adminBase is the URL of the admin endpoint.
func adminBase() string { return "http://" + cmp.Or(os.Getenv("OFFLOAD_ADMIN"), "localhost:2019") }

// run serves until ctx is done, and calls ready when it does.
func run(ctx context.Context, gpu *modelserver.GPU, ready func(context.Context) error) error {
	listeners := map[string]net.Listener{}
	for model, addr := range map[string]string{
		"small": cmp.Or(os.Getenv("GPU_SMALL"), "127.0.0.1:9003"),
		"large": cmp.Or(os.Getenv("GPU_LARGE"), "127.0.0.1:9004"),
	} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return errors.Join(fmt.Errorf("starting the model %s: %w", model, err), closeAll(listeners))
		}
		listeners[model] = ln
	}
	if err := embedded.Start(caddyfile); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return gpu.Serve(ctx, listeners) })
	all.Go(func() error { return ready(ctx) })
	all.Go(func() error {
		<-ctx.Done()
		return caddy.Stop()
	})
	return all.Wait()
}

func closeAll(listeners map[string]net.Listener) error {
	var all error
	for _, ln := range listeners {
		all = errors.Join(all, ln.Close())
	}
	return all
}
