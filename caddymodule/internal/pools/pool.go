package pools

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

// Table are the pools of all loaded configurations by name. They outlive
// each of these: a reload finds its pools with all that waits and runs in them.
var Table = caddy.NewUsagePool()

// Pool is one of them.
type Pool struct {
	*offloader.Pool
	Leases Leases[offloader.Settings]
	used   atomic.Bool // a configuration with it has started
	gone   atomic.Bool // no configuration names it

	successor atomic.Pointer[succession] // nil without one
	spots     atomic.Pointer[[]Spot]     // where the configuration that ruled last has it
	Waits     prometheus.Histogram       // of admitted requests, in seconds
	Runs      prometheus.Histogram       // from the permit to its release, in seconds

	Sends    atomic.Uint64 // to backends
	Requests registry
}

// Destruct is called when no configuration names the pool. The requests of the last one are
// in it, or on their way through handlers before "offload": a reload loses none of them. It
// admits as before, and when they are served nothing refers to it. Only a pause ends, since
// no operator can end it.
func (p *Pool) Destruct() error {
	p.gone.Store(true)
	if p.Snapshot().Phase == offloader.PhasePaused {
		p.Resume()
	}
	p.forgetIfIdle()
	p.Entered()
	if p.used.Load() && !caddy.Exiting() {
		s := p.Snapshot()
		Log(zapcore.InfoLevel, "pool removed: admitted requests finish", p.Name(),
			zap.Int("running", s.Running), zap.Int("waiting", s.Waiting), zap.Int("uploading", s.Announced),
			zap.String("successor", p.successorName()))
	}
	return nil
}

// ObserveRun counts how long a run has had its permit. One whose connection was upgraded
// was counted then.
func (p *Pool) ObserveRun(took time.Duration, upgraded bool) {
	if upgraded {
		p.EndDetached()
		return
	}
	p.Runs.Observe(took.Seconds())
}

// Entered lists a removed pool that a request is in. It is called after each has
// entered: those that do so later come from the configuration that has ended.
func (p *Pool) Entered() {
	if p.gone.Load() && p.Wait(ended) != nil && Removed.add(p) {
		go p.finish()
	}
}

// finish waits for the last request in a removed pool. Nothing but these ends it.
func (p *Pool) finish() {
	_ = p.Wait(context.Background())
	Removed.remove(p)
	p.forgetIfIdle()
	p.Entered() // another one may have come in between
}

// follow gives the pool the settings of the configuration that rules.
func (p *Pool) follow(s offloader.Settings) {
	if p.used.Swap(true) {
		p.configure(s)
		return
	}
	_ = p.Configure(s) // those it was made with, but for its routes' timeouts
}

// Open returns the pool of that name, made with settings if it is new. The
// caller owes a Table.Delete.
func Open(name string, settings offloader.Settings) (*Pool, error) {
	v, _, err := Table.LoadOrNew(name, func() (caddy.Destructor, error) {
		pool, err := offloader.New(name, settings,
			offloader.WithBreakerObserver(func(from, to offloader.BreakerState) { breakerChanged(name, from, to) }),
			offloader.WithSaturationObserver(func() { saturated(name) }))
		if err != nil {
			return nil, err
		}
		live := &Pool{Pool: pool, Waits: newHistogram(WaitOpts, name), Runs: newHistogram(RunOpts, name)}
		live.Leases.Apply = live.follow
		return live, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Pool), nil
}

// Snapshot returns the pool's numbers, after it has noted which runs go on without their
// clients.
func (p *Pool) Snapshot() offloader.Snapshot {
	for _, r := range p.Requests.All() {
		r.NoteDeparture()
	}
	return p.Pool.Snapshot()
}

// EveryRequest lists all requests in the pool.
func (p *Pool) EveryRequest() []Request {
	all := p.Requests.All()
	for _, w := range p.Waiters() {
		if w.Ticket == nil {
			continue
		}
		if r, ok := w.Ticket.Caller.(Request); ok {
			all = append(all, r)
		}
	}
	return all
}

// Living returns the pools that a configuration names, by name.
func Living() []*Pool {
	all := named()
	slices.SortFunc(all, func(a, b *Pool) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}

// named returns the pools that a configuration names. Nothing slow may happen while their
// table is locked.
func named() (all []*Pool) {
	Table.Range(func(_, v any) bool {
		all = append(all, v.(*Pool))
		return true
	})
	return all
}
