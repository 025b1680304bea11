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
		name: "order", usage: "The order of the queue", kind: order(),
		in:       func(s *offloader.Settings) *offloader.Order { return &s.Order },
		override: func(o *offloader.Override) **offloader.Order { return &o.Order },
	}.setting(),
	row[time.Duration]{
		name: "linger", usage: "How much longer a cancelled run keeps its permit", kind: duration(true),
		in:       func(s *offloader.Settings) *time.Duration { return &s.Linger },
		override: func(o *offloader.Override) **time.Duration { return &o.Linger },
	}.setting(),
}

// Breaker has the settings of a pool's breaker. They are zero in a pool without one.
var Breaker = Table{
	row[float64]{
		name: "failure_ratio", usage: "The share of failures in the window that trips the breaker", kind: share(),
		in: func(s *offloader.Settings) *float64 { return &breakerOf(s).FailureRatio },
	}.setting(),
	row[int]{
		name: "min_requests", usage: "How many results the window must hold before the ratio counts", kind: count(1, false),
		in: func(s *offloader.Settings) *int { return &breakerOf(s).MinRequests },
	}.setting(),
	row[int]{
		name: "consecutive_failures", usage: "How many failures in a row trip the breaker", kind: count(1, true),
		in: func(s *offloader.Settings) *int { return &breakerOf(s).ConsecutiveFailures },
	}.setting(),
	row[time.Duration]{
		name: "window", usage: "The rolling window of the ratio", fallback: "from the timeouts", kind: duration(false),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).Window },
	}.setting(),
	row[time.Duration]{
		name: "cool_down", usage: "How long the breaker stays open before it probes", kind: duration(false),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).CoolDown },
	}.setting(),
	row[int]{
		name: "probes", usage: "How many probes run at once; as many must succeed", kind: count(1, false),
		in: func(s *offloader.Settings) *int { return &breakerOf(s).Probes },
	}.setting(),
	row[time.Duration]{
		name: "probe_timeout", usage: "When a probe whose response has not begun well counts as a failure", fallback: "from the timeouts", kind: duration(false),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).ProbeTimeout },
	}.setting(),
}

// breakerOf returns the settings of a breaker, or zeros that belong to no pool.
func breakerOf(s *offloader.Settings) *offloader.BreakerSettings {
	if s.Breaker == nil {
		return new(offloader.BreakerSettings)
	}
	return s.Breaker
}
