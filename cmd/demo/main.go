// Command demo shows in about a minute the effect of the offload handler. It
// starts the two upstreams of examples/ and Caddy with the root Caddyfile, and
// runs one scene twice on each of them, without offload and with it: 100
// clients request a slow route while a probe requests a fast one.
//
//	go run ./cmd/demo                      plays the scenes and prints a table
//	go run ./cmd/demo -json                prints one JSON object instead
//	go run ./cmd/demo -serve               leaves everything running afterwards
//	go run ./cmd/demo -upstreams           starts what the root Caddyfile fronts
//	go run ./cmd/demo -example factorial   starts one example with its Caddyfile
//
// It listens on free ports; with -upstreams and -example, on the defaults of
// the Caddyfiles. OFFLOAD_ADDR, OFFLOAD_ADMIN, FACTORIAL_UPSTREAM and
// SLOW_UPSTREAM in the environment set them. It fails if an offloaded request
// was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/caddy-offload/caddy-offload/internal/interrupt"
	"github.com/caddy-offload/caddy-offload/internal/load"
)

// options are the flags.
type options struct {
	json, serve, upstreams bool
	example                string
}

func main() {
	var o options
	flag.BoolVar(&o.json, "json", false, "print one JSON object instead of a table")
	flag.BoolVar(&o.serve, "serve", false, "leave the servers running after the scenes")
	flag.BoolVar(&o.upstreams, "upstreams", false, "only start the upstreams of the root Caddyfile")
	flag.StringVar(&o.example, "example", "", "only start this `example` and Caddy with its Caddyfile")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo: no arguments expected, only flags")
		os.Exit(2)
	}

	interrupt.Main("demo", func(ctx context.Context) error { return run(ctx, o) })
}

// run runs the command in the form that the options select.
func run(ctx context.Context, o options) (err error) {
	a, err := chooseAddresses(!o.upstreams && o.example == "")
	if err != nil {
		return err
	}
	if o.upstreams {
		return serveUpstreams(ctx, a)
	}
	remove, err := ownHome()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	d := &demo{addresses: a, progress: load.NewProgress(os.Stderr)}
	defer func() { err = errors.Join(err, d.close()) }()
	if o.example != "" {
		return d.serveExample(ctx, o.example)
	}
	r, err := d.play(ctx)
	if err != nil {
		return err
	}
	if err := d.print(os.Stdout, r, o.json); err != nil {
		return err
	}
	if o.serve {
		err = d.serve(ctx)
	}
	if !r.OK {
		err = errors.Join(err, errLost)
	}
	return err
}

// errLost fails the demo: a request was lost.
var errLost = errors.New("an offloaded request was lost")
