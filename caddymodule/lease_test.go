package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// The newest of those that have started rules, and one that ends gives way.
func TestNewestStartedRules(t *testing.T) {
	var applied []int
	l := leases[int]{apply: func(v int) { applied = append(applied, v) }}
	expect := func(step string, want ...int) {
		t.Helper()
		if !slices.Equal(applied, want) {
			t.Errorf("%s: applied %v, want %v", step, applied, want)
		}
		applied = nil
	}
	one := l.start(1)
	two := l.start(2)
	three := l.start(3)
	expect("three starts", 1, 2, 3)
	two.end()
	expect("one in between ends")
	three.end()
	expect("the newest ends", 1)
	four := l.start(4)
	one.end()
	expect("the older of two ends", 4)
	four.end()
	expect("the last ends")
	var never *lease[int]
	never.end()
	expect("one that never started ends")
	if !l.none() {
		t.Error("leases are left")
	}
}

// start does what Caddy does when all apps have started.
func (g *generation) start() {
	g.t.Helper()
	if err := g.app.Start(); err != nil {
		g.t.Fatal(err)
	}
	if err := g.app.Handle(g.t.Context(), caddy.Event{}); err != nil {
		g.t.Fatal(err)
	}
}

// inForce is what configurations have made of a pool and of the budget.
type inForce struct {
	concurrency, references, uploads int
}

func nowInForce(pool *offloader.Pool) inForce {
	n, _ := livePools.References(pool.Name())
	return inForce{pool.Settings().Concurrency, n, budget.Limits().Uploads}
}

func limited(n int) string {
	return fmt.Sprintf(`{"pools": {"lives": {"concurrency": %d}}, "spool": {"uploads": %d}}`, n, n)
}

// A pool outlives configurations, follows the one that started last, and is
// given up exactly as often as it was taken.
func TestPoolOfSeveralConfigurations(t *testing.T) {
	restoreBudget(t)
	first := provision(t, limited(1))
	pool := first.mustHandler(`{"pool": "lives"}`).pool
	expect := func(step string, want inForce) {
		t.Helper()
		if got := nowInForce(pool); got != want {
			t.Errorf("%s: got %+v, want %+v", step, got, want)
		}
	}
	first.start()
	expect("the first has started", inForce{1, 1, 1})
	second := provision(t, limited(2))
	if second.mustHandler(`{"pool": "lives"}`).pool != pool {
		t.Error("the second has another pool of that name")
	}
	expect("the second is provisioned", inForce{1, 2, 1})
	if err := second.app.Start(); err != nil {
		t.Fatal(err)
	}
	expect("the second has started, other apps have not", inForce{1, 2, 1})
	second.start()
	expect("all of the second has started", inForce{2, 2, 2})
	third := provision(t, limited(3))
	third.start()
	expect("the third has started", inForce{3, 3, 3})
	third.end()
	expect("the third is rolled back", inForce{2, 2, 2})
	first.end()
	expect("the first is gone", inForce{2, 1, 2})
	second.end()
	second.end() // once more does nothing
	noPools(t)
	if !budgetLeases.none() {
		t.Error("the budget is still leased")
	}
}

// restoreBudget brings the process's budget back for other tests.
func restoreBudget(t *testing.T) {
	limits := budget.Limits()
	t.Cleanup(func() { budget.Configure(limits) })
}

// An event of Caddy's name that another module emits starts nothing.
func TestForeignEvent(t *testing.T) {
	restoreBudget(t)
	g := provision(t, limited(1))
	ctx, cancel := caddy.NewContext(g.ctx)
	defer cancel()
	module, err := ctx.LoadModuleByID("offload_test_emitter", json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := caddy.NewEvent(module.(*emitter).ctx, "started", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.app.Handle(context.Background(), e); err != nil || g.app.budget != nil {
		t.Errorf("committed, %v", err)
	}
}

// emitter is a module that emits events.
type emitter struct{ ctx caddy.Context }

func (emitter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "offload_test_emitter", New: func() caddy.Module { return new(emitter) }}
}

func (e *emitter) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	return nil
}

// badStart is an app that fails in Start. It notes what was in force then.
type badStart struct{}

var badStarts struct {
	sync.Mutex
	sawCommitted, sawStarted, sawNotStarted bool
	look                                    func() (committed, started bool)
}

func (badStart) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "offload_test_bad_start", New: func() caddy.Module { return new(badStart) }}
}

func (*badStart) Start() error {
	badStarts.Lock()
	defer badStarts.Unlock()
	if badStarts.look != nil {
		committed := badStarts.look()
		badStarts.sawCommitted = badStarts.sawCommitted || committed
	}
	return errors.New("bad start")
}

func (*badStart) Stop() error { return nil }
