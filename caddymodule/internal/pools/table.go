package pools

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Table holds the pools of the process. Pools outlive configurations: after a reload they
// still have all requests that wait and run in them.
type Table struct {
	// Named are the pools of all loaded configurations, by name.
	Named *caddy.UsagePool
	// Removed are pools that no configuration names and that still have requests.
	Removed set[*Pool]
	// Events are those of all pools.
	Events Events
	// Rejecting reports whether rejections for a reason are summed up in the log: those of
	// requests that could have been served at another time.
	Rejecting func(offloader.Reason) bool

	upstreams *offloader.Upstreams // in front of which the pools are
	ruling    Leases[[]Spot]       // the spots of each configuration
	held      atomic.Int32         // rejections of all pools
}

// NewTable returns a table without pools, which share the counts of upstreams.
func NewTable(upstreams *offloader.Upstreams) *Table {
	return &Table{Named: caddy.NewUsagePool(), Rejecting: offloader.Reason.Shed, upstreams: upstreams}
}

// Open returns the pool of that name. A new pool gets these settings. The caller must call
// Named.Delete.
func (t *Table) Open(name string, settings offloader.Settings) (*Pool, error) {
	v, _, err := t.Named.LoadOrNew(name, func() (caddy.Destructor, error) { return t.newPool(name, settings) })
	if err != nil {
		return nil, err
	}
	return v.(*Pool), nil
}

func (t *Table) newPool(name string, settings offloader.Settings) (*Pool, error) {
	p := &Pool{
		removed: &t.Removed, events: &t.Events,
		Waits: newHistogram(WaitOpts, name), Runs: newHistogram(RunOpts, name),
	}
	p.Leases.Apply = p.follow
	p.statuses.Store(statusesOf(settings))
	p.holds.all = &t.held
	p.rejections.counts, p.rejections.report = t.Rejecting, p.logRejections
	pool, err := offloader.New(name, settings, offloader.WithBreakerObserver(p.breakerChanged), offloader.WithUpstreamObserver(p.upstreamChanged),
		offloader.WithSaturationObserver(p.saturated), offloader.WithRejectionObserver(p.rejections.observe),
		offloader.WithUpstreams(t.upstreams))
	if err != nil {
		return nil, err
	}
	p.Pool, p.rejections.pool, p.Upstreams.Pool = pool, pool, pool
	return p, nil
}

// Living returns the pools that a configuration names, by name.
func (t *Table) Living() []*Pool {
	all := t.named()
	slices.SortFunc(all, func(a, b *Pool) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}

// All returns the living pools, and removed ones that still have requests.
func (t *Table) All() []*Pool { return append(t.Removed.List(), t.named()...) }

// named returns the pools that a configuration names. It only copies, since their table is
// locked meanwhile.
func (t *Table) named() (all []*Pool) {
	t.Named.Range(func(_, v any) bool {
		all = append(all, v.(*Pool))
		return true
	})
	return all
}
