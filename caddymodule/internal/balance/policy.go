// Package balance has the selection policy "offload" of reverse_proxy. It sends each run to
// an upstream with a free permit: in a pool with upstream_concurrency a waiter gets its
// permit when an upstream has room, and the policy binds the run to one of those that have.
package balance

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Policy sends each request to an upstream with a free permit. It is for a
// `reverse_proxy` behind a handler `offload` whose pool has `upstream_concurrency`:
//
//	{
//		"policy": "offload",
//		"weights": {"10.0.0.2:8000": 3},
//		"affinity": {"policy": "cookie", "name": "lb", "secret": "secret"},
//		"max_wait": "1s"
//	}
//
// Requests that are in no such pool go to the available upstream with the fewest requests.
type Policy struct {
	// The part of the runs that an upstream should get, by its address, in relation to
	// the others, from 1 to 1000. Default: the number of its permits.
	Weights map[string]int `json:"weights,omitempty"`

	// A selection policy whose upstream is preferred. Its `fallback` is by default the
	// upstream with the least load. Default: none.
	AffinityRaw json.RawMessage `json:"affinity,omitempty" caddy:"namespace=http.reverse_proxy.selection_policies inline_key=policy"`

	// How long a request waits for the preferred upstream before another one is taken. 0
	// is not at all. Default: 1s.
	MaxWait *caddy.Duration `json:"max_wait,omitempty"`

	affinity reverseproxy.Selector
	known    *known
}

const (
	defaultMaxWait = time.Second
	// A run with a permit that finds no upstream with room, since some are not available any
	// longer, waits for so long, that many times: another one may come free, or one be
	// available again.
	bridge  = 25 * time.Millisecond
	bridges = 10
)

// CaddyModule describes the module.
func (Policy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.selection_policies.offload", New: func() caddy.Module { return &Policy{known: new(known)} }}
}

// Provision loads the affinity.
func (p *Policy) Provision(ctx caddy.Context) error {
	p.known.weights = p.Weights
	for address, weight := range p.Weights {
		if weight < 1 || weight > offloader.MaxWeight {
			return fmt.Errorf("weight %d of %s: want a number from 1 to %d", weight, address, offloader.MaxWeight)
		}
	}
	if p.MaxWait != nil && *p.MaxWait < 0 {
		return errors.New("max_wait must not be negative")
	}
	if p.AffinityRaw == nil {
		return nil
	}
	p.AffinityRaw = withFallback(p.AffinityRaw)
	module, err := ctx.LoadModule(p, "AffinityRaw")
	if err != nil {
		return fmt.Errorf("loading the affinity: %w", err)
	}
	p.affinity = module.(reverseproxy.Selector)
	if _, same := p.affinity.(*Policy); same {
		return errors.New("affinity 'offload' is no affinity: want another selection policy, such as cookie")
	}
	return nil
}

// Cleanup ends the look at upstreams that are not available, and takes the upstreams from
// the pools.
func (p *Policy) Cleanup() error {
	p.known.close()
	return nil
}

// Announce makes the upstreams of a handler known to a pool before its first request, unless
// their addresses depend on that.
func (p *Policy) Announce(pool *pools.Pool, upstreams reverseproxy.UpstreamPool) {
	replacer := caddy.NewReplacer()
	for _, u := range upstreams {
		if optionvalue.HasPlaceholder(replacer.ReplaceKnown(u.Dial, "")) {
			return
		}
	}
	p.known.report(pool, upstreams, replacer)
}

// Select returns the upstream to which it has bound the run of the request. It returns nil if
// none has room: then the run goes back to the queue.
func (p *Policy) Select(upstreams reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	replacer := replacerOf(r)
	b, ok := serving.BinderOf(r)
	if !ok {
		return candidatesOf(upstreams, replacer).leastLoaded(p.Weights)
	}
	all := p.known.report(b.Pool(), upstreams, replacer)
	if len(all) == 0 {
		return nil
	}
	name, ok := p.bind(b, all, r, w)
	b.LacksRoom(!ok)
	return all.find(name)
}

// bind binds the run to the preferred upstream, or to another one. A request that is sent
// again goes elsewhere, if it can.
func (p *Policy) bind(b serving.Binder, all candidates, r *http.Request, w http.ResponseWriter) (string, bool) {
	choice := offloader.UpstreamChoice{Among: all.usable(), Avoid: b.Last(r)}
	if p.affinity != nil && choice.Avoid == "" {
		choice.Prefer = all.name(p.affinity.Select(all.available(), r, w))
	}
	if choice.Prefer != "" {
		if name, ok := b.Bind(r, choice, p.maxWait()); ok {
			return name, true
		}
		choice.Prefer = ""
	}
	for left := bridges; left > 0; left-- {
		choice.Among = all.usable()
		if others := without(choice.Among, choice.Avoid); left > 1 && len(others) > 0 {
			choice.Among = others
		}
		if name, ok := b.Bind(r, choice, bridge); ok || r.Context().Err() != nil {
			return name, ok
		}
	}
	return "", false
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(other string) bool { return other == name })
}

func (p *Policy) maxWait() time.Duration {
	if p.MaxWait == nil {
		return defaultMaxWait
	}
	return time.Duration(*p.MaxWait)
}

var (
	_ caddy.Provisioner     = (*Policy)(nil)
	_ caddy.CleanerUpper    = (*Policy)(nil)
	_ reverseproxy.Selector = (*Policy)(nil)
)
