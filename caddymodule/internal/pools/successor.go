package pools

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Generation is one loaded configuration, with its pools that replace pools of earlier
// ones.
type Generation struct {
	table        *Table
	once         sync.Once
	linked       atomic.Bool
	spots        []Spot
	replacements []replacement
	lease        *Lease[[]Spot] // nil if it has not ruled
}

// replacement is a pool of the last configuration that is replaced by a pool of this one.
type replacement struct {
	elder *Pool
	by    *succession
}

// NewGeneration returns a configuration whose pools are in t.
func NewGeneration(t *Table) *Generation { return &Generation{table: t} }

// Link finds, once, the pools that this configuration replaces. It is called before the
// configuration gets its first request, so that the limits of the new pools are lower from
// the beginning. Nothing else changes until Rule.
func (g *Generation) Link(find func() []Spot) {
	if g.linked.Load() {
		return
	}
	g.once.Do(func() {
		defer g.linked.Store(true)
		g.spots = find()
		for _, pair := range successors(g.spotsBefore(), g.spots) {
			if s := pair.heir.Succeed(pair.elder.Pool); s != nil {
				g.replacements = append(g.replacements, replacement{pair.elder, &succession{s, pair.heir.Name()}})
			}
		}
	})
}

// spotsBefore returns the spots of the ruling configuration, the one that started last, and
// the last spots of removed pools that still have requests.
func (g *Generation) spotsBefore() []Spot {
	var all []Spot
	for _, p := range g.table.Removed.List() {
		if spots := p.spots.Load(); spots != nil {
			all = append(all, *spots...)
		}
	}
	return append(all, g.table.ruling.Last()...)
}

// Rule is called when the configuration starts. From then on the replaced pools keep within
// the limits of their successors.
func (g *Generation) Rule() {
	g.lease = g.table.ruling.Start(g.spots)
	for _, p := range byPool(g.spots) {
		p.pool.spots.Store(&p.spots)
	}
	for _, r := range g.replacements {
		r.by.Bind()
		r.elder.successor.Store(r.by)
		r.elder.forgetIfIdle()
	}
}

// End is called at the end of a configuration. If the configuration has not started or was
// rolled back, the pools that it was to replace become ordinary pools again.
func (g *Generation) End() {
	if g == nil {
		return
	}
	g.lease.End()
	for _, r := range g.replacements {
		if g.lease == nil || !r.elder.gone.Load() {
			r.elder.successor.Store(nil)
			r.by.Undo()
		}
	}
	g.replacements, g.lease = nil, nil
}

// pair is a pool that only the older of two configurations has a route for, and the pool of
// the newer one that replaces it.
type pair struct{ elder, heir *Pool }

// successors matches pools without a route in the newer configuration with pools that only
// the newer one has. A pool is replaced by one of the same name, which was removed for a
// while, or by one in front of the same backends; if the backends are unknown, by one on
// the same server. Of several candidates, in the order of the configuration, each pool
// takes the first that no other has taken, or the first of all if there are more old pools
// than new ones.
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

// byPool groups the spots by pool, in the order in which the pools appear.
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
