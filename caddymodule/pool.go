package caddymodule

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// livePools are the pools of all loaded configurations by name. They outlive
// each of these: a reload finds its pools with all that waits and runs in them.
var livePools = caddy.NewUsagePool()

// livePool is one of them.
type livePool struct {
	*offloader.Pool
	leases leases[offloader.Settings]
	used   atomic.Bool // a configuration with it has started
	gone   atomic.Bool // no configuration names it any more

	successor atomic.Pointer[succession] // nil without one
	spots     atomic.Pointer[[]spot]     // where the configuration that ruled last has it
	waits     prometheus.Histogram       // of those who got a permit, in seconds
	runs      prometheus.Histogram       // from the permit to its release, in seconds

	sends    atomic.Uint64 // to backends
	requests registry
}

// Destruct is called when no configuration names the pool any more. Requests that
// the last one had accepted are in it, or on their way through handlers before
// "offload": a reload loses none of them. It admits as before, and once they are
// served nothing refers to it. Only a pause ends, since nothing else could end it.
func (p *livePool) Destruct() error {
	p.gone.Store(true)
	if p.Snapshot().Phase == "paused" {
		p.Resume()
	}
	p.forgetIfIdle()
	p.entered()
	if p.used.Load() && !caddy.Exiting() {
		s := p.Snapshot()
		logPool(zapcore.InfoLevel, "pool removed: what is in it finishes", p.Name(),
			zap.Int("running", s.Running), zap.Int("waiting", s.Waiting), zap.Int("uploading", s.Uploading),
			zap.String("successor", p.successorName()))
	}
	return nil
}

// observeRun counts how long a run has had its permit. One whose connection was upgraded
// was counted then.
func (p *livePool) observeRun(took time.Duration, upgraded bool) {
	if upgraded {
		p.EndUpgrade()
		return
	}
	p.runs.Observe(took.Seconds())
}

// entered lists a removed pool that a request is in. It is called after each has
// entered: those that do so later come from the configuration that has ended.
func (p *livePool) entered() {
	if p.gone.Load() && p.Wait(ended) != nil && removedPools.add(p) {
		go p.finish()
	}
}

// finish waits for the last request in a removed pool. Nothing but these ends it.
func (p *livePool) finish() {
	_ = p.Wait(context.Background())
	removedPools.remove(p)
	p.forgetIfIdle()
	p.entered() // another one may have come in between
}

// follow gives the pool the settings of the configuration that rules.
func (p *livePool) follow(s offloader.Settings) {
	if p.used.Swap(true) {
		p.configure(s)
		return
	}
	_ = p.Configure(s) // those it was made with, but for its routes' timeouts
}

// openPool returns the pool of that name, made with settings if it is new. The
// caller owes a livePools.Delete.
func openPool(name string, settings offloader.Settings) (*livePool, error) {
	v, _, err := livePools.LoadOrNew(name, func() (caddy.Destructor, error) {
		pool, err := offloader.New(name, settings,
			offloader.WithBreakerObserver(func(from, to offloader.BreakerState) { breakerChanged(name, from, to) }),
			offloader.WithSaturationObserver(func() { saturated(name) }))
		if err != nil {
			return nil, err
		}
		live := &livePool{Pool: pool, waits: newHistogram(waitOpts, name), runs: newHistogram(runOpts, name)}
		live.leases.apply = live.follow
		return live, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*livePool), nil
}

// Snapshot returns the pool's numbers, after it has noted which runs go on without their
// clients.
func (p *livePool) Snapshot() offloader.Snapshot {
	for _, r := range p.requests.all() {
		r.noteDeparture()
	}
	return p.Pool.Snapshot()
}

// everyRequest lists all requests in the pool.
func (p *livePool) everyRequest() []request {
	all := p.requests.all()
	for _, w := range p.Waiters() {
		if w.Place == nil {
			continue
		}
		if r, ok := w.Place.Owner.(request); ok {
			all = append(all, r)
		}
	}
	return all
}

// livingPools returns the pools that a configuration names, by name. Nothing slow may
// happen while their table is locked.
func livingPools() []*livePool {
	var all []*livePool
	livePools.Range(func(_, v any) bool {
		all = append(all, v.(*livePool))
		return true
	})
	slices.SortFunc(all, func(a, b *livePool) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}
