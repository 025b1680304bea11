package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// demo owns Caddy and the upstreams behind it.
type demo struct {
	addresses addresses
	progress  *load.Progress
	scenes    []*scene
	running   servers
}

// play runs all scenes in both modes. Afterwards Caddy still runs, with
// offload.
func (d *demo) play(ctx context.Context) (*report, error) {
	config, err := adapt("Caddyfile")
	if err != nil {
		return nil, err
	}
	unprotected, protected, err := modes(config)
	if err != nil {
		return nil, err
	}
	d.progress.Say("Measuring the upstreams ...")
	for _, prepare := range []func(context.Context, addresses) (*scene, error){factorialScene, slowScene} {
		s, err := prepare(ctx, d.addresses)
		if err != nil {
			return nil, err
		}
		d.scenes = append(d.scenes, s)
	}
	d.progress.Say("Playing: %d clients x %d requests on a blocking route, a probe every %v on a fast one.",
		clients, each, probeEvery)
	r := &report{}
	if r.Unprotected, err = d.playAll(ctx, unprotected); err != nil {
		return nil, err
	}
	if r.Protected, err = d.playAll(ctx, protected); err != nil {
		return nil, err
	}
	r.OK = r.lost() == 0
	return r, nil
}

// playAll runs all scenes in one mode.
func (d *demo) playAll(ctx context.Context, m mode) (map[string]result, error) {
	if err := apply(m.config); err != nil {
		return nil, err
	}
	results := map[string]result{}
	for _, s := range d.scenes {
		r, err := s.play(ctx, m, d.progress)
		if err != nil {
			return nil, err
		}
		results[s.key] = r
	}
	return results, nil
}

// print prints the report as a table or as JSON.
func (d *demo) print(w io.Writer, r *report, asJSON bool) error {
	if !asJSON {
		return r.table(w, d.scenes)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// serve keeps the servers of the scenes running until ctx is done, for
// requests of the user.
func (d *demo) serve(ctx context.Context) error {
	if err := d.start(ctx, d.addresses.upstreams()...); err != nil {
		return err
	}
	base := d.addresses.base()
	d.progress.Say("Serving until Ctrl-C. Try:")
	for _, path := range []string{"/factorial/1000", "/ping", "/slow/report?delay=2s", "/slow/ping", "/slow/stats"} {
		d.progress.Say("  curl '%s%s'", base, path)
	}
	<-ctx.Done()
	return nil
}

// start starts upstreams that run until the demo is closed.
func (d *demo) start(ctx context.Context, upstreams ...place) error {
	for _, u := range upstreams {
		srv, err := start(ctx, u.backend, u.addr)
		if err != nil {
			return err
		}
		d.running = append(d.running, srv)
	}
	return nil
}

// close ends the upstreams first, which ends the requests that Caddy would
// wait for.
func (d *demo) close() error {
	return errors.Join(d.running.stop(), caddy.Stop())
}

// serveExample serves one example behind Caddy until ctx is done.
func (d *demo) serveExample(ctx context.Context, name string) error {
	for _, u := range d.addresses.upstreams() {
		if u.example != name {
			continue
		}
		config, err := adapt("examples", name, "Caddyfile")
		if err != nil {
			return err
		}
		if err := errors.Join(d.start(ctx, u), apply(config)); err != nil {
			return err
		}
		d.progress.Say("%s at %s, offloaded at %s, until Ctrl-C; see examples/%s/README.md", name, u.addr, d.addresses.base(), name)
		<-ctx.Done()
		return nil
	}
	return fmt.Errorf("unknown example %q: want factorial or slowupstream", name)
}

// serveUpstreams serves the upstreams of the root Caddyfile until ctx is
// done.
func serveUpstreams(ctx context.Context, a addresses) error {
	d := &demo{}
	if err := d.start(ctx, a.upstreams()...); err != nil {
		return errors.Join(err, d.running.stop())
	}
	fmt.Fprintf(os.Stderr, "factorial worker at %s, slow upstream at %s, until Ctrl-C; now: go run ./cmd/caddy run\n", a.factorial, a.slow)
	<-ctx.Done()
	return d.running.stop()
}
