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
		before := ruling.last()
		if before == nil {
			return
		}
		for _, pair := range successors(before.spots, a.spots) {
			elder, heir := before.claims[pair.elder].pool, a.claims[pair.heir].pool
			if s := heir.Succeed(elder.Pool); s != nil {
				a.successions = append(a.successions, succession{s, elder, heir.Name()})
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

// succeed makes the pools that are replaced keep within the limits of their successors.
func (a *App) succeed() {
	for i := range a.successions {
		s := &a.successions[i]
		s.Bind()
		s.elder.successor.Store(s)
	}
}

// partUnlessGone is for the end of a configuration. The pools that it was to replace
// live on if it has not started, or has been rolled back.
func (a *App) partUnlessGone() {
	for _, s := range a.successions {
		if !s.elder.gone.Load() {
			s.elder.successor.Store(nil)
			s.Undo()
		}
	}
	a.successions = nil
}

// forgotten lets go of a removed pool that nothing is in.
func (p *livePool) forgotten() {
	if s := p.successor.Load(); s != nil {
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

// pair is a pool that only the older of two configurations names, and the one of the
// newer that takes its place.
type pair struct{ elder, heir string }

// successors matches pools that the newer configuration does not name any more with
// those that only it names. A pool takes the place of one in front of the same
// backends; if it is not known what is behind, of one on the same server. Of several
// that fit, in the order of the configuration, each takes the first that no other has
// taken, or the first of all if there are more old ones than new ones.
func successors(older, newer []spot) []pair {
	var pairs []pair
	taken := make(map[string]bool)
	added := onlyIn(newer, older)
	for _, elder := range onlyIn(older, newer) {
		var fit []string
		for _, heir := range added {
			if elder.sharesWith(heir) {
				fit = append(fit, heir.name)
			}
		}
		if len(fit) == 0 {
			continue
		}
		heir := fit[0]
		if i := slices.IndexFunc(fit, func(name string) bool { return !taken[name] }); i >= 0 {
			heir = fit[i]
		}
		taken[heir] = true
		pairs = append(pairs, pair{elder.name, heir})
	}
	return pairs
}

// poolSpots are all spots of one pool.
type poolSpots struct {
	name  string
	spots []spot
}

// onlyIn returns the pools of one configuration that another one does not have.
func onlyIn(one, other []spot) (all []poolSpots) {
	for _, s := range one {
		if slices.ContainsFunc(other, func(o spot) bool { return o.pool == s.pool }) {
			continue
		}
		i := slices.IndexFunc(all, func(p poolSpots) bool { return p.name == s.pool })
		if i < 0 {
			i = len(all)
			all = append(all, poolSpots{name: s.pool})
		}
		all[i].spots = append(all[i].spots, s)
	}
	return all
}

func (p poolSpots) sharesWith(other poolSpots) bool {
	for _, a := range p.spots {
		for _, b := range other.spots {
			if a.sharesWith(b) {
				return true
			}
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
