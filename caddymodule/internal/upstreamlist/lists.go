// Package upstreamlist gathers the upstreams of a pool: several load balancers may stand
// behind one pool, each with a list.
package upstreamlist

import (
	"slices"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Source is a load balancer that knows upstreams.
type Source interface {
	// Upstreams returns them as they are at this moment. It takes no lock.
	Upstreams() []offloader.UpstreamState
	// Ended reports whether its configuration has ended: then its opinion of upstreams that
	// others know too does not count. It takes no lock.
	Ended() bool
}

// Lists are the upstreams behind a pool. They outlive configurations, as the pool does.
type Lists struct {
	Pool *offloader.Pool // set once

	mu      sync.Mutex // held during reports, which are in order then
	sources []Source
}

// Add adds a source. The caller reports next.
func (l *Lists) Add(s Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sources = append(l.sources, s)
}

// Drop removes a source, and reports the others.
func (l *Lists) Drop(s Source) {
	l.mu.Lock()
	l.sources = slices.DeleteFunc(l.sources, func(other Source) bool { return other == s })
	l.mu.Unlock()
	l.Report()
}

// Report reports the upstreams of all sources to the pool. It reports whether all are
// available.
func (l *Lists) Report() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []offloader.UpstreamState
	for _, ended := range []bool{false, true} {
		known := len(all)
		for _, s := range l.sources {
			if s.Ended() == ended {
				all = merge(all, s.Upstreams(), known)
			}
		}
	}
	l.Pool.ReportUpstreams(all)
	return !slices.ContainsFunc(all, func(u offloader.UpstreamState) bool { return !u.Available })
}

// merge adds upstreams, except those that are among the first ones. One that is not available
// for a load balancer is not so for the pool: a run must find room where the pool has it.
func merge(all, list []offloader.UpstreamState, first int) []offloader.UpstreamState {
	for _, u := range list {
		switch i := slices.IndexFunc(all, func(other offloader.UpstreamState) bool { return other.Name == u.Name }); {
		case i < 0:
			all = append(all, u)
		case i >= first:
			all[i].Available = all[i].Available && u.Available
			all[i].Weight = max(all[i].Weight, u.Weight)
		}
	}
	return all
}
