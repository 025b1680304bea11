package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// The newest started configuration is in force. When it ends, an older one takes over.
func TestNewestStartedRules(t *testing.T) {
	var applied []int
	l := pools.Leases[int]{Apply: func(v int) { applied = append(applied, v) }}
	expect := func(step string, want ...int) {
		t.Helper()
		if !slices.Equal(applied, want) {
			t.Errorf("%s: applied %v, want %v", step, applied, want)
		}
		applied = nil
	}
	one := l.Start(1)
	two := l.Start(2)
	three := l.Start(3)
	expect("three starts", 1, 2, 3)
	two.End()
	expect("one in between ends")
	three.End()
	expect("the newest ends", 1)
	four := l.Start(4)
	one.End()
	expect("the older of two ends", 4)
	four.End()
	expect("the last ends")
	var never *pools.Lease[int]
	never.End()
	expect("one that never started ends")
	if !l.None() {
		t.Error("leases are left")
	}
}

// start starts the configuration as Caddy does.
func (g *provisioned) start() {
	g.t.Helper()
	if err := g.app.Start(); err != nil {
		g.t.Fatal(err)
	}
	if err := g.app.Handle(g.t.Context(), caddy.Event{}); err != nil {
		g.t.Fatal(err)
	}
}

// inForce holds the settings of a pool and of the budget that are in force.
type inForce struct {
	concurrency, references, uploads int
}

func nowInForce(pool *pools.Pool) inForce {
	n, _ := process.Pools.Named.References(pool.Name())
	return inForce{pool.Settings().Concurrency, n, process.Budget.Limits().Uploads}
}

func limited(n int) string {
	return fmt.Sprintf(`{"pools": {"lives": {"concurrency": %d}}, "spool": {"uploads": %d}}`, n, n)
}

// A pool outlives configurations, has the settings of the one that started last, and is
// released exactly as often as it was opened.
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
	if !process.BudgetLeases.None() {
		t.Error("the budget is still leased")
	}
}

// restoreBudget brings the process's budget back for other tests.
func restoreBudget(t *testing.T) {
	limits := process.Budget.Limits()
	t.Cleanup(func() { process.Budget.Configure(limits) })
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

// badStart is an app that fails when it starts.
type badStart struct{}

func (badStart) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "offload_test_bad_start", New: func() caddy.Module { return new(badStart) }}
}

func (*badStart) Start() error { return errors.New("bad start") }
func (*badStart) Stop() error  { return nil }

func init() {
	caddy.RegisterModule(emitter{})
	caddy.RegisterModule(badStart{})
}

// load runs a configuration of these apps.
func load(apps string) error {
	config := `{"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "discard"}}}}, "apps": ` + apps + `}`
	return caddy.Load([]byte(config), true)
}

// When another app fails to start, in any order, nothing has changed meanwhile: the
// breaker still has its results, and no waiter got a permit.
func TestFailedStartChangesNothing(t *testing.T) {
	restoreBudget(t)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	if err := load(`{"offload": {"pools": {"lives": {"concurrency": 1, "breaker": {"consecutive_failures": 3}}}, "spool": {"uploads": 1}}}`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		noPools(t)
	})
	pool := living(t, "lives")
	for range 2 {
		fail(t, pool)
	}
	held, err := pool.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	waiting, leave := context.WithCancel(t.Context())
	var waiter sync.WaitGroup
	waiter.Go(func() {
		if _, err := pool.Acquire(waiting); !errors.Is(err, context.Canceled) {
			t.Errorf("the waiter got %v", err)
		}
	})
	for pool.Snapshot().Waiting == 0 {
		runtime.Gosched()
	}
	listens := process.Pools.Events.Listeners.Last()
	for range 20 { // apps start in random order
		err := load(`{"offload_test_bad_start": {}, "offload": {"pools": {"lives": {"concurrency": 2, "breaker": {"consecutive_failures": 30}}}, "spool": {"uploads": 2}}}`)
		if err == nil || !strings.Contains(err.Error(), "bad start") {
			t.Fatalf("got %v", err)
		}
	}
	if got, want := nowInForce(pool), (inForce{1, 1, 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if listens == nil || process.Pools.Events.Listeners.Last() != listens {
		t.Error("another configuration gets the events")
	}
	leave()
	waiter.Wait()
	held.Release(offloader.Excluded)
	fail(t, pool)
	if state := pool.Snapshot().Breaker; state != offloader.StateOpen {
		t.Errorf("the breaker is %s after its third failure", state)
	}
}

// living returns the pool of that name.
func living(t *testing.T, name string) *pools.Pool {
	t.Helper()
	var pool *pools.Pool
	process.Pools.Named.Range(func(key, v any) bool {
		if key == name {
			pool = v.(*pools.Pool)
		}
		return true
	})
	if pool == nil {
		t.Fatalf("no pool '%s'", name)
	}
	return pool
}

func fail(t *testing.T, pool *pools.Pool) {
	t.Helper()
	permit, err := pool.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	permit.Release(offloader.Failure)
}

// A successful reload takes effect at once, and any number of reloads leaves one
// reference.
func TestReload(t *testing.T) {
	restoreBudget(t)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		noPools(t)
		if process.Pools.Events.Listeners.Last() != nil {
			t.Error("a configuration that has ended gets the events")
		}
	})
	var pool *pools.Pool
	var listens *pools.Listener
	for n := 1; n <= 20; n++ {
		if err := load(`{"offload": ` + limited(n) + `}`); err != nil {
			t.Fatal(err)
		}
		if pool != nil && living(t, "lives") != pool {
			t.Fatal("the pool was replaced")
		}
		pool = living(t, "lives")
		if got, want := nowInForce(pool), (inForce{n, 1, n}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if now := process.Pools.Events.Listeners.Last(); now == nil || now == listens {
			t.Error("an old configuration gets the events")
		}
		listens = process.Pools.Events.Listeners.Last()
	}
}

// A configuration that fails at any place in Provision returns all that it took and no
// more, and one that cannot be adapted takes nothing.
func TestFailedProvision(t *testing.T) {
	restoreBudget(t)
	alive := provision(t, limited(1))
	alive.start()
	before := nowInForce(living(t, "lives"))
	for name, apps := range map[string]caddy.ModuleMap{
		"app": {
			"offload": []byte(`{"pools": {"lives": {"concurrency": 5}, "a": {}, "b": {"concurrency": -5}, "c": {}, "d": null}}`),
		},
		"budget": {
			"offload": []byte(`{"pools": {"lives": {"concurrency": 5}}, "spool": {"uploads": -1}}`),
		},
		"route": {
			"offload": []byte(`{"pools": {"lives": {"concurrency": 5}, "a": {}}}`),
			"http":    serverOf(t, `{"name": "own", "order": "lifo"}`),
		},
		"routes of handle_reject": {
			"offload": []byte(`{"pools": {"lives": {"concurrency": 5}}}`),
			"http":    serverOf(t, `{"name": "own", "handle_reject": [{"handle": [{"handler": "offload", "name": "inner"}, {"handler": "nobody"}]}]}`),
		},
		"another app": {
			"offload":        []byte(`{"pools": {"lives": {"concurrency": 5}, "a": {}}}`),
			"offload_nobody": []byte(`{}`),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 { // modules load in random order
				err := caddy.Validate(&caddy.Config{Logging: quiet(), AppsRaw: maps.Clone(apps)})
				if err == nil {
					t.Fatal("no error")
				}
				if got := nowInForce(living(t, "lives")); got != before {
					t.Errorf("got %+v, want %+v", got, before)
				}
			}
			onlyAlive(t, "lives")
		})
	}
}

// onlyAlive fails the test if a pool but these is alive.
func onlyAlive(t *testing.T, names ...string) {
	t.Helper()
	process.Pools.Named.Range(func(name, _ any) bool {
		if !slices.Contains(names, name.(string)) {
			t.Errorf("pool '%s' is alive", name)
		}
		return true
	})
}

// A module that was never provisioned can be cleaned up.
func TestCleanupOfNothing(t *testing.T) {
	if err := new(App).Cleanup(); err != nil {
		t.Error(err)
	}
}

// `caddy adapt` and `caddy validate` leave nothing behind: no pool, no file, no
// folder, and no changed settings of running pools.
func TestAdaptAndValidateHaveNoSideEffect(t *testing.T) {
	restoreBudget(t)
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"} {
		t.Setenv(name, home)
	}
	alive := provision(t, limited(1))
	alive.start()
	pool := living(t, "lives")
	fail(t, pool)
	before, settings, limits := nowInForce(pool), pool.Settings(), process.Budget.Limits()
	text := strings.ReplaceAll(`{
	offload {
		pool lives {
			concurrency 5
			breaker off
		}
		spool {
			dir HOME/spool
			uploads 5
		}
	}
}

:8080 {
	offload /named/* lives {
		run_timeout 10m
	}
	offload {
		request_spool 1KiB 1MiB
	}
	respond "ok"
}
`, "HOME", filepath.ToSlash(home))
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	onlyAlive(t, "lives")
	for range 3 {
		var config caddy.Config
		if err := json.Unmarshal(adapted, &config); err != nil {
			t.Fatal(err)
		}
		config.Logging = quiet()
		if err := caddy.Validate(&config); err != nil {
			t.Fatal(err)
		}
	}
	onlyAlive(t, "lives")
	if got := nowInForce(pool); got != before || !reflect.DeepEqual(pool.Settings(), settings) || process.Budget.Limits() != limits {
		t.Errorf("got %+v, %+v, %+v", got, pool.Settings(), process.Budget.Limits())
	}
	_ = filepath.WalkDir(home, func(path string, _ fs.DirEntry, _ error) error {
		if path != home {
			t.Errorf("%s was made", path)
		}
		return nil
	})
}
