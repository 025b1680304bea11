package pools

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// ruling is the configuration that has started last.
var ruling Leases[*Generation]

// Spot is one "offload" in a configuration.
type Spot struct {
	Pool     *Pool
	Server   string   // by its addresses
	Backends []string // of what comes behind it; none if that is not known
}

// Generation is one loaded configuration, as far as its pools replace those of others.
// Its zero value is ready.
type Generation struct {
	once        sync.Once
	linked      atomic.Bool
	spots       []Spot
	successions []succession
	lease       *Lease[*Generation]
}

// succession is a pool of this configuration that takes the place of one of the last.
type succession struct {
	*offloader.Succession
	elder *Pool
	heir  string
}

// Link looks once for pools that this configuration replaces. It is called before the
// first request gets there: their successors' limits are lower from the beginning. Nothing
// else changes before the configuration rules.
func (g *Generation) Link(find func() []Spot) {
	if g.linked.Load() {
		return
	}
	g.once.Do(func() {
		defer g.linked.Store(true)
		g.spots = find()
		for _, pair := range successors(spotsBefore(), g.spots) {
			if s := pair.heir.Succeed(pair.elder.Pool); s != nil {
				g.successions = append(g.successions, succession{s, pair.elder, pair.heir.Name()})
			}
		}
	})
}

// spotsBefore are those of the configuration that rules, and those that removed pools
// had in which requests still are.
func spotsBefore() []Spot {
	var all []Spot
	for _, p := range Removed.List() {
		if spots := p.spots.Load(); spots != nil {
			all = append(all, *spots...)
		}
	}
	if before := ruling.last(); before != nil {
		all = append(all, before.spots...)
	}
	return all
}

// Rule makes the pools that are replaced keep within the limits of their successors, from
// the start of this configuration on.
func (g *Generation) Rule() {
	g.lease = ruling.Start(g)
	for _, p := range byPool(g.spots) {
		p.pool.spots.Store(&p.spots)
	}
	for i := range g.successions {
		s := &g.successions[i]
		s.Bind()
		s.elder.successor.Store(s)
		s.elder.forgetIfIdle()
	}
}

// End is for the end of a configuration. What it was to replace is a pool like others
// again if it has not ruled, or was rolled back.
func (g *Generation) End() {
	if g == nil {
		return
	}
	g.lease.End()
	for _, s := range g.successions {
		if g.lease == nil || !s.elder.gone.Load() {
			s.elder.successor.Store(nil)
			s.Undo()
		}
	}
	g.successions, g.lease = nil, nil
}

// forgetIfIdle lets go of a removed pool that nothing is in.
func (p *Pool) forgetIfIdle() {
	if s := p.successor.Load(); s != nil && p.gone.Load() && p.Wait(ended) == nil {
		s.Forget()
	}
}

// successorName is the pool that takes the place of this one, empty if none does.
func (p *Pool) successorName() string {
	if s := p.successor.Load(); s != nil {
		return s.heir
	}
	return ""
}

// pair is a pool that only the older of two configurations has a route for, and the
// one of the newer that takes its place.
type pair struct{ elder, heir *Pool }

// successors matches pools without a route in the newer configuration with pools that only
// the newer one has. A pool succeeds one of its name, which was removed for a while, or one
// in front of the same backends; if the backends are unknown, one on the same server. Of
// several candidates, in the order of the configuration, each takes the first that no other
// has taken, or the first of all if there are more old pools than new ones.
func successors(older, newer []Spot) []pair {
	var pairs []pair
	taken := make(map[*Pool]bool)
	added := onlyIn(newer, older)
	for _, elder := range onlyIn(older, newer) {
		heir := elder.successorAmong(added, taken)
		if heir != nil {
			taken[heir] = true
			pairs = append(pairs, pair{elder.pool, heir})
		}
	}
	return pairs
}

// poolSpots are all spots of one pool.
type poolSpots struct {
	pool  *Pool
	spots []Spot
}

func (p poolSpots) successorAmong(added []poolSpots, taken map[*Pool]bool) (heir *Pool) {
	for _, other := range added {
		switch {
		case other.pool.Name() == p.pool.Name():
			return other.pool
		case !p.sharesWith(other):
		case heir == nil, taken[heir] && !taken[other.pool]:
			heir = other.pool
		}
	}
	return heir
}

// byPool gathers the spots of each pool, in the order of their first.
func byPool(spots []Spot) (all []poolSpots) {
	for _, s := range spots {
		i := slices.IndexFunc(all, func(p poolSpots) bool { return p.pool == s.Pool })
		if i < 0 {
			i = len(all)
			all = append(all, poolSpots{pool: s.Pool})
		}
		all[i].spots = append(all[i].spots, s)
	}
	return all
}

// onlyIn returns the pools of one configuration that another one does not have.
func onlyIn(one, other []Spot) []poolSpots {
	return slices.DeleteFunc(byPool(one), func(p poolSpots) bool {
		return slices.ContainsFunc(other, func(o Spot) bool { return o.Pool == p.pool })
	})
}

func (p poolSpots) sharesWith(other poolSpots) bool {
	for _, a := range p.spots {
		if slices.ContainsFunc(other.spots, a.sharesWith) {
			return true
		}
	}
	return false
}

func (s Spot) sharesWith(other Spot) bool {
	if len(s.Backends) == 0 && len(other.Backends) == 0 {
		return s.Server == other.Server
	}
	return slices.ContainsFunc(s.Backends, func(backend string) bool { return slices.Contains(other.Backends, backend) })
}
