package caddymodule

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// ruling is the configuration that has started last.
var ruling leases[*App]

// succession is a pool of this configuration that takes the place of one of the last.
type succession struct {
	*offloader.Succession
	elder *livePool
	heir  string
}

// linking happens once for each configuration.
type linking struct {
	once sync.Once
	done atomic.Bool
}

// link looks for pools that this configuration replaces. It is called before the first
// request gets there: their successors' limits are lower from the beginning. Nothing
// else changes before the configuration rules.
func (a *App) link() {
	a.linking.once.Do(func() {
		defer a.linking.done.Store(true)
		a.spots = a.findSpots()
		for _, pair := range successors(spotsBefore(), a.spots) {
			if s := pair.heir.Succeed(pair.elder.Pool); s != nil {
				a.successions = append(a.successions, succession{s, pair.elder, pair.heir.Name()})
			}
		}
	})
}

func (a *App) findSpots() []spot {
	module, err := a.listener.ctx.AppIfConfigured("http")
	if err != nil || module == nil {
		return nil
	}
	return spotsOf(module.(*caddyhttp.App))
}

// spotsBefore are those of the configuration that rules, and those that removed pools
// had in which requests still are.
func spotsBefore() []spot {
	var all []spot
	for _, p := range removedPools.list() {
		if spots := p.spots.Load(); spots != nil {
			all = append(all, *spots...)
		}
	}
	if before := ruling.last(); before != nil {
		all = append(all, before.spots...)
	}
	return all
}

// succeed makes the pools that are replaced keep within the limits of their
// successors, once this configuration rules.
func (a *App) succeed() {
	for _, p := range byPool(a.spots) {
		p.pool.spots.Store(&p.spots)
	}
	for i := range a.successions {
		s := &a.successions[i]
		s.Bind()
		s.elder.successor.Store(s)
		s.elder.forgetIfIdle()
	}
}

// part is for the end of a configuration. What it was to replace is a pool like others
// again if it has not ruled, or was rolled back.
func (a *App) part(ruled bool) {
	for _, s := range a.successions {
		if !ruled || !s.elder.gone.Load() {
			s.elder.successor.Store(nil)
			s.Undo()
		}
	}
	a.successions = nil
}

// forgetIfIdle lets go of a removed pool that nothing is in.
func (p *livePool) forgetIfIdle() {
	if s := p.successor.Load(); s != nil && p.gone.Load() && p.Wait(ended) == nil {
		s.Forget()
	}
}

// successorName is the pool that takes the place of this one, empty if none does.
func (p *livePool) successorName() string {
	if s := p.successor.Load(); s != nil {
		return s.heir
	}
	return ""
}

// pair is a pool that only the older of two configurations has a route for, and the
// one of the newer that takes its place.
type pair struct{ elder, heir *livePool }

// successors matches pools for which the newer configuration has no route any more
// with those for which only it has one. A pool takes the place of one of its name,
// which was removed for a while, or of one in front of the same backends; if it is not
// known what is behind, of one on the same server. Of several that fit, in the order
// of the configuration, each takes the first that no other has taken, or the first of
// all if there are more old ones than new ones.
func successors(older, newer []spot) []pair {
	var pairs []pair
	taken := make(map[*livePool]bool)
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
	pool  *livePool
	spots []spot
}

func (p poolSpots) successorAmong(added []poolSpots, taken map[*livePool]bool) (heir *livePool) {
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
func byPool(spots []spot) (all []poolSpots) {
	for _, s := range spots {
		i := slices.IndexFunc(all, func(p poolSpots) bool { return p.pool == s.pool })
		if i < 0 {
			i = len(all)
			all = append(all, poolSpots{pool: s.pool})
		}
		all[i].spots = append(all[i].spots, s)
	}
	return all
}

// onlyIn returns the pools of one configuration that another one does not have.
func onlyIn(one, other []spot) []poolSpots {
	return slices.DeleteFunc(byPool(one), func(p poolSpots) bool {
		return slices.ContainsFunc(other, func(o spot) bool { return o.pool == p.pool })
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

func (s spot) sharesWith(other spot) bool {
	if len(s.backends) == 0 && len(other.backends) == 0 {
		return s.server == other.server
	}
	return slices.ContainsFunc(s.backends, func(backend string) bool { return slices.Contains(other.backends, backend) })
}
