package balance

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// candidate is an upstream that a request may go to.
type candidate struct {
	name     string // its address, without placeholders
	upstream *reverseproxy.Upstream
	frozen   bool // its health is that at the end of its configuration
}

// available reports whether the upstream is available now. One whose health is frozen counts
// as available: the pool knows from later configurations whether it is.
func (c candidate) available() bool {
	return c.upstream.Available() || c.frozen && !c.upstream.Full()
}

type candidates []candidate

func candidatesOf(upstreams reverseproxy.UpstreamPool, replacer *caddy.Replacer) candidates {
	all := make(candidates, len(upstreams))
	for i, u := range upstreams {
		all[i] = candidate{name: u.Dial, upstream: u}
		if strings.Contains(u.Dial, "{") {
			all[i].name = replacer.ReplaceAll(u.Dial, "")
		}
	}
	return all
}

// same reports whether other has the same upstreams.
func (c candidates) same(other candidates) bool {
	return slices.EqualFunc(c, other, func(a, b candidate) bool { return a.upstream == b.upstream })
}

// states are the upstreams as they are now, with the number of those that are available.
func (c candidates) states(weights map[string]int) (states []offloader.UpstreamState, up int) {
	states = make([]offloader.UpstreamState, len(c))
	for i, u := range c {
		states[i] = offloader.UpstreamState{Name: u.name, Available: u.available(), Weight: weights[u.name]}
		if states[i].Available {
			up++
		}
	}
	return states, up
}

// usable are the names of the upstreams that are available now: one that belongs to none if
// there are none.
func (c candidates) usable() []string {
	names := make([]string, 0, len(c))
	for _, u := range c {
		if u.available() {
			names = append(names, u.name)
		}
	}
	if len(names) == 0 {
		names = append(names, "")
	}
	return names
}

// available are the upstreams that are available now.
func (c candidates) available() (all reverseproxy.UpstreamPool) {
	for _, u := range c {
		if u.available() {
			all = append(all, u.upstream)
		}
	}
	return all
}

// name is that of an upstream, empty for nil.
func (c candidates) name(u *reverseproxy.Upstream) string {
	i := slices.IndexFunc(c, func(other candidate) bool { return other.upstream == u })
	if i < 0 {
		return ""
	}
	return c[i].name
}

// find returns the upstream of that name, nil if there is none.
func (c candidates) find(name string) *reverseproxy.Upstream {
	i := slices.IndexFunc(c, func(u candidate) bool { return u.name == name })
	if i < 0 {
		return nil
	}
	return c[i].upstream
}

// leastLoaded returns the available upstream with the fewest requests for its weight, nil if
// none is available.
func (c candidates) leastLoaded(weights map[string]int) (best *reverseproxy.Upstream) {
	least := 0.0
	for _, i := range rand.Perm(len(c)) { // so that equals take turns
		u := c[i]
		load := float64(u.upstream.NumRequests()+1) / float64(max(weights[u.name], 1))
		if u.available() && (best == nil || load < least) {
			best, least = u.upstream, load
		}
	}
	return best
}

func replacerOf(r *http.Request) *caddy.Replacer {
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		return replacer
	}
	return caddy.NewReplacer()
}
