// Package jobroute is the core's side of jobs: it loads the plugin for them as guests of a
// configuration and of its routes, and gives the routes their way into the pools.
package jobroute

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
)

// Guests are those of one configuration. The zero value has none.
type Guests struct {
	app    jobhost.App
	routes map[string]string // the text of each route by its name
	bound  *binding
}

// binding is the time from Bind to Close.
type binding struct {
	stop    func() bool
	drained chan struct{} // closed when the app has been drained
}

// IsSet reports whether a field of JSON has a value.
func IsSet(text json.RawMessage) bool { return len(text) > 0 && !bytes.Equal(text, []byte("null")) }

// LoadApp loads the guest of the app with its JSON, which may be empty, unless that was done
// before.
func (g *Guests) LoadApp(ctx caddy.Context, text json.RawMessage) error {
	if g.app != nil {
		return nil
	}
	app, err := load[jobhost.App](ctx, jobhost.AppModule, text)
	if err != nil {
		return err
	}
	g.app = app
	return nil
}

// load loads a guest module.
func load[T any](ctx caddy.Context, id caddy.ModuleID, text json.RawMessage) (guest T, err error) {
	if _, err := create(id); err != nil {
		return guest, err
	}
	module, err := ctx.LoadModuleByID(string(id), text)
	if err != nil {
		return guest, fmt.Errorf("jobs: %w", err)
	}
	return as[T](module)
}

// as returns a module as the guest that it must be.
func as[T any](module any) (T, error) {
	guest, ok := module.(T)
	if !ok {
		return guest, fmt.Errorf("jobs: the plugin is of another version: %T", module)
	}
	return guest, nil
}

// create returns an empty guest module. It returns an error with the cure if the plugin is not
// part of the process.
func create(id caddy.ModuleID) (caddy.Module, error) {
	info, err := caddy.GetModule(string(id))
	if err != nil {
		return nil, errAbsent
	}
	return info.New(), nil
}

const plugin = "github.com/caddy-offload/caddy-offload/caddymodule/jobs"

var errAbsent = fmt.Errorf("jobs need the plugin caddymodule/jobs, which this Caddy does not have: build it with 'xcaddy build --with %s'", plugin)

// Open opens the guest of the app, if there is one.
func (g *Guests) Open() error {
	if g.app == nil {
		return nil
	}
	if err := g.app.Open(); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}

// Bind makes this configuration run the jobs, until Close. The app is drained when the context
// of the exit ends.
func (g *Guests) Bind(exit context.Context) {
	if g.app == nil || g.bound != nil {
		return
	}
	g.app.Bind()
	b := &binding{drained: make(chan struct{})}
	b.stop = context.AfterFunc(exit, func() {
		defer close(b.drained)
		g.app.Drain()
	})
	g.bound = b
}

// Close closes the guest of the app, once.
func (g *Guests) Close() error {
	app := g.app
	if app == nil {
		return nil
	}
	if b := g.bound; b != nil && !b.stop() {
		<-b.drained
	}
	g.app, g.bound = nil, nil
	return app.Close()
}
