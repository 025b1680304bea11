package balance

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// known are the upstreams of a policy, as its pools know them. While one of a pool is not
// available, known looks whether it is again: failures expire in Caddy without an event.
type known struct {
	weights map[string]int // written once

	mu       sync.Mutex                 // held during reports, so that the last one counts
	list     candidates                 // of the last request
	shown    atomic.Pointer[candidates] // to pools; written under mu
	dynamic  bool                       // lists of requests differ
	reported []offloader.UpstreamState  // the last ones
	pools    []*pools.Pool
	timer    *time.Timer // of the next look, nil without one
	downFrom time.Time   // no upstream is available since then, zero if one is
	lastUse  time.Time   // by a request
	settled  bool        // all upstreams of the pools are available, those of others too
	ended    atomic.Bool // the configuration has ended, and has only old requests
}

// Times between two looks, and limits.
const (
	lookWithWaiters = 5 * time.Millisecond
	lookElse        = 100 * time.Millisecond
	// idle is how long after its last request an ended configuration keeps its upstreams.
	idle = time.Second
	// renew is how long a pool waits for one of a dynamic list of which none is
	// available. Then it lets runs through, which get the next list.
	renew = time.Second
)

// report reports the upstreams of a request to its pool, if they have changed since the last
// report, and returns them.
func (k *known) report(pool *pools.Pool, upstreams reverseproxy.UpstreamPool, replacer *caddy.Replacer) candidates {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := candidatesOf(upstreams, replacer)
	for i := range list {
		list[i].frozen = k.ended.Load()
	}
	k.dynamic = k.dynamic || !list.same(k.list)
	k.list, k.lastUse = list, time.Now()
	if !slices.Contains(k.pools, pool) {
		pool.Upstreams.Add(k)
		k.pools, k.reported = append(k.pools, pool), nil
	}
	k.update()
	return list
}

// close takes the upstreams from the pools. Requests of the ended configuration bring them
// back for a while.
func (k *known) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended.Store(true)
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	k.drop()
}

func (k *known) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.timer == nil: // stopped at this moment
		return
	case k.ended.Load() && time.Since(k.lastUse) >= idle:
		k.timer = nil
		k.drop()
		return
	case k.dynamic && !k.downFrom.IsZero() && time.Since(k.downFrom) >= renew:
		k.timer, k.downFrom = nil, time.Time{}
		k.publish(candidates{})
		k.reported = nil
		return
	}
	k.timer = nil
	k.update()
}

// Ended reports whether the configuration has ended.
func (k *known) Ended() bool { return k.ended.Load() }

// Upstreams returns the upstreams as they are now.
func (k *known) Upstreams() []offloader.UpstreamState {
	list := k.shown.Load()
	if list == nil {
		return nil
	}
	states, _ := list.states(k.weights)
	return states
}

// The methods below require k.mu.

// update reports the upstreams as they are now, and looks again later if one is not
// available.
func (k *known) update() {
	states, up := k.list.states(k.weights)
	if !k.settled || !slices.Equal(states, k.reported) {
		k.publish(k.list)
		k.reported = states
	}
	switch {
	case up > 0:
		k.downFrom = time.Time{}
	case k.downFrom.IsZero():
		k.downFrom = time.Now()
	}
	if k.timer == nil && (!k.settled || k.ended.Load()) {
		k.timer = time.AfterFunc(k.pace(), k.look)
	}
}

// pace is the time until the next look.
func (k *known) pace() time.Duration {
	if slices.ContainsFunc(k.pools, func(p *pools.Pool) bool { return p.Gauges().Waiting > 0 }) {
		return lookWithWaiters
	}
	return lookElse
}

// publish shows upstreams to the pools.
func (k *known) publish(list candidates) {
	k.shown.Store(&list)
	k.settled = true
	for _, pool := range k.pools {
		k.settled = pool.Upstreams.Report() && k.settled
	}
}

func (k *known) drop() {
	for _, pool := range k.pools {
		pool.Upstreams.Drop(k)
	}
	k.pools, k.reported = nil, nil
}
