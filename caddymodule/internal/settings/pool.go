package settings

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Pool has the settings of a pool, without those of its breaker.
var Pool = Table{
	row[int]{
		name: "concurrency", usage: "How many requests may run at once", kind: count(1, true),
		in:       func(s *offloader.Settings) *int { return &s.Concurrency },
		override: func(o *offloader.Override) **int { return &o.Concurrency },
	}.setting(),
	row[upstreamLimits]{
		name: "upstream_concurrency", usage: "How many requests may run at once at each upstream", kind: perUpstream(),
		in: func(s *offloader.Settings) *upstreamLimits {
			return &upstreamLimits{s.UpstreamConcurrency, s.ConcurrencyOf}
		},
		set: func(s *offloader.Settings, l upstreamLimits) { s.UpstreamConcurrency, s.ConcurrencyOf = l.each, l.of },
	}.setting(),
	row[int]{
		name: "queue", usage: "How many requests may wait", kind: count(0, false),
		in:       func(s *offloader.Settings) *int { return &s.Queue },
		override: func(o *offloader.Override) **int { return &o.Queue },
	}.setting(),
	row[time.Duration]{
		name: "max_wait", usage: "The longest wait for a permit", kind: duration(true),
		in:       func(s *offloader.Settings) *time.Duration { return &s.MaxWait },
		override: func(o *offloader.Override) **time.Duration { return &o.MaxWait },
	}.setting(),
	row[offloader.Order]{
		name: "order", usage: "The order of the queue: first come first served (fifo), or the same while the queue is short and newest first when it is too long (auto)", kind: order(),
		in:       func(s *offloader.Settings) *offloader.Order { return &s.Order },
		override: func(o *offloader.Override) **offloader.Order { return &o.Order },
	}.setting(),
	row[time.Duration]{
		name: "linger", usage: "How much longer the permit of a cancelled request stays taken, for a backend that still works on it", kind: duration(true),
		in:       func(s *offloader.Settings) *time.Duration { return &s.Linger },
		override: func(o *offloader.Override) **time.Duration { return &o.Linger },
	}.setting(),
	row[string]{
		name: "fair_by", usage: "A placeholder such as {client_ip}: requests with different values share the permits fairly", kind: placeholder(),
		in: func(s *offloader.Settings) *string { return &s.KeyName },
	}.setting(),
	row[int]{
		name: "per_key", usage: "How many permits one key may hold at once", kind: count(1, true),
		in:       func(s *offloader.Settings) *int { return &s.PerKey },
		override: func(o *offloader.Override) **int { return &o.PerKey },
	}.setting(),
	row[int]{
		name: "queue_per_key", usage: "How many requests of one key may wait", kind: count(1, true),
		in:       func(s *offloader.Settings) *int { return &s.QueuePerKey },
		override: func(o *offloader.Override) **int { return &o.QueuePerKey },
	}.setting(),
	row[[]offloader.Class]{
		name: "classes", usage: "Classes of requests that share the permits by weight; when the queue is full, an earlier class displaces a later one", kind: classes(),
		in: func(s *offloader.Settings) *[]offloader.Class { return &s.Classes },
	}.setting(),
}
