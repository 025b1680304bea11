package offloader

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of a pool in front of an unknown backend.
const (
	DefaultConcurrency  = 8
	DefaultQueue        = 100
	DefaultMaxWait      = 10 * time.Second
	DefaultFailureRatio = 0.5
	DefaultMinRequests  = 20
	DefaultCoolDown     = 10 * time.Second
	DefaultProbes       = 1
	DefaultStatuses     = "5xx"

	// FirstCoolDown is the first cool-down of a breaker that holds callers, unless its
	// CoolDown is shorter.
	FirstCoolDown = 250 * time.Millisecond
	// MaxRetryAfter is the longest cool-down that a backend can ask for by
	// [Permit.RetryAfter].
	MaxRetryAfter = time.Minute

	// MinWindow is the shortest default window of a breaker.
	MinWindow = 30 * time.Second
	// WindowRuns is the number of longest runs that fit into a breaker's default
	// window. A result is booked at the start of its run, so a run that outlives the
	// window never counts, unless it is reported as a timeout.
	WindowRuns = 3
)

// Order of service in the queue.
type Order uint8

const (
	// OrderAuto serves first come, first served while the queue is short
	// enough, and newest first beyond that. See [Pool.Acquire].
	OrderAuto Order = iota
	// OrderFIFO always serves first come, first served.
	OrderFIFO
)

// ParseOrder parses the name of an order: auto, which is the default, or fifo.
func ParseOrder(name string) (Order, error) {
	switch name {
	case "", "auto":
		return OrderAuto, nil
	case "fifo":
		return OrderFIFO, nil
	}
	return OrderAuto, fmt.Errorf("unknown order '%s': want 'auto' or 'fifo'", name)
}

// String returns the name of the order: auto or fifo.
func (o Order) String() string {
	if o == OrderFIFO {
		return "fifo"
	}
	return "auto"
}

// Settings configure a pool. They are plain data; a zero number switches its
// feature off. Start from [DefaultSettings].
type Settings struct {
	// Concurrency is the number of permits. Zero: no limit.
	Concurrency int
	// Queue is the number of callers that may wait. Zero: reject when all permits are
	// taken.
	Queue int
	// MaxWait is the longest wait for a permit. Zero: as long as the caller's
	// context allows.
	MaxWait time.Duration
	// Order of the queue.
	Order Order
	// Fair serves waiters by Claim.Key: each key gets an equal part of the permit-time,
	// whatever its number of callers and the length of its runs. PerKey and QueuePerKey
	// imply it.
	Fair bool
	// KeyName is the source of the keys, such as "{client_ip}", for displays of the
	// settings. The pool does not use it.
	KeyName string
	// PerKey is the number of permits that the callers of one key may hold at once. A run
	// that costs more may run alone. Zero: no bound.
	PerKey int
	// QueuePerKey is the number of callers of one key that may wait. Zero: no bound but
	// Queue.
	QueuePerKey int
	// Classes of callers, the most urgent one first, which share the permits by weight.
	// Empty: all callers are of one class.
	Classes []Class
	// UpstreamConcurrency is the number of permits of each upstream of a pool that has
	// several: [Pool.ReportUpstreams]. A caller gets a permit when an upstream has room for
	// it too. Pools with the same [Upstreams] share the count of an upstream, and each keeps
	// to its own limit. Zero: no bound.
	UpstreamConcurrency int
	// ConcurrencyOf are the permits of upstreams by name, in place of UpstreamConcurrency,
	// which must be set.
	ConcurrencyOf map[string]int
	// Linger keeps the permit of a cancelled run for a while longer, for
	// backends that go on working after a cancel. Zero: off.
	Linger time.Duration
	// Breaker of the pool. Nil: none.
	Breaker *BreakerSettings
	// LongestRun is the longest timeout of the callers. The breaker's window and probe
	// timeout default from it. Zero: unknown.
	LongestRun time.Duration
}

// BreakerSettings configure a pool's circuit breaker. It trips by FailureRatio, by
// ConsecutiveFailures, and after as many timeouts in a row ([Permit.ReportTimeout]) as the
// pool has permits, at least MinTimeouts: when all permits belong to abandoned runs, there
// are no more results to count. Without a limit of permits it trips after MinRequests
// timeouts in a row, unless FailureRatio is off.
type BreakerSettings struct {
	// FailureRatio of the results in the window that trips, above 0 and up to
	// 1. Zero: this rule is off.
	FailureRatio float64
	// MinRequests is the least number of results in the window for FailureRatio.
	MinRequests int
	// ConsecutiveFailures that trip. Zero: this rule is off.
	ConsecutiveFailures int
	// Window is the time in which results count. Zero: the larger of MinWindow and
	// WindowRuns x Settings.LongestRun.
	Window time.Duration
	// CoolDown is how long the breaker stays open before it probes, and the longest
	// time for which one limit holds in the warm-up after that.
	CoolDown time.Duration
	// Probes is how many runs may probe at once, and how many must succeed to close the
	// breaker. A probe waits in the queue if no permit is free; other callers are
	// rejected meanwhile.
	Probes int
	// Hold keeps callers waiting for so long after the breaker has tripped, and takes the
	// probes from the head of the queue. The cool-down then begins with FirstCoolDown and
	// doubles with each failed probe, up to CoolDown. MinTimeouts runs in a row that the
	// backend did not answer ([Permit.Unanswered]) trip the breaker too. Zero: callers are
	// rejected while the breaker is open.
	Hold time.Duration
	// SlowRatio of the results in the window that trips, above 0 and up to 1, where a run
	// is slow if its response has not begun well after SlowAfter. A slow probe has failed.
	// Zero: this rule is off.
	SlowRatio float64
	// SlowAfter is positive if SlowRatio is.
	SlowAfter time.Duration
	// PerUpstream gives each upstream a breaker with these rules for its own results, in place
	// of one for the pool: an upstream whose breaker is open gets no runs. The pool rejects or
	// holds callers when all upstreams that are available are out. It needs
	// Settings.UpstreamConcurrency.
	PerUpstream bool
	// Statuses names the results that callers count as failures, such as "5xx 429", for
	// views of the settings. The pool does not use it.
	Statuses string
	// ProbeTimeout is the time after which a probe that has neither begun well
	// ([Permit.Began]) nor ended counts as failed, so that a probe that hangs cannot
	// keep the breaker half-open. Zero: one second more than Settings.LongestRun, or
	// MinWindow if that is unknown.
	ProbeTimeout time.Duration
}

// DefaultSettings returns the settings with all defaults.
func DefaultSettings() Settings {
	breaker := DefaultBreakerSettings()
	return Settings{
		Concurrency: DefaultConcurrency,
		Queue:       DefaultQueue,
		MaxWait:     DefaultMaxWait,
		Breaker:     &breaker,
	}
}

// DefaultBreakerSettings returns a breaker that trips by ratio.
func DefaultBreakerSettings() BreakerSettings {
	return BreakerSettings{
		FailureRatio: DefaultFailureRatio,
		MinRequests:  DefaultMinRequests,
		CoolDown:     DefaultCoolDown,
		Probes:       DefaultProbes,
		Statuses:     DefaultStatuses,
	}
}

// Validate reports every invalid setting.
func (s Settings) Validate() error {
	var errs []error
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"concurrency", int64(s.Concurrency)},
		{"queue", int64(s.Queue)},
		{"max_wait", int64(s.MaxWait)},
		{"linger", int64(s.Linger)},
		{"per_key", int64(s.PerKey)},
		{"queue_per_key", int64(s.QueuePerKey)},
		{"upstream_concurrency", int64(s.UpstreamConcurrency)},
	} {
		if v.value < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", v.name))
		}
	}
	if s.Order > OrderFIFO {
		errs = append(errs, fmt.Errorf("unknown order %d", s.Order))
	}
	errs = append(errs, validateClasses(s.Classes)...)
	for name, n := range s.ConcurrencyOf {
		if n < 1 || s.UpstreamConcurrency == 0 {
			errs = append(errs, fmt.Errorf("upstream_concurrency of %s must be at least 1, and needs a number for the other upstreams too", name))
		}
	}
	if s.Breaker != nil {
		errs = append(errs, s.Breaker.validate()...)
		if s.Breaker.PerUpstream && s.UpstreamConcurrency == 0 {
			errs = append(errs, errors.New("a breaker for each upstream needs upstream_concurrency"))
		}
	}
	return errors.Join(errs...)
}

// keyed reports whether keys count.
func (s Settings) keyed() bool { return s.Fair || s.PerKey > 0 || s.QueuePerKey > 0 }

func (b BreakerSettings) validate() []error {
	var errs []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("breaker "+format, args...))
		}
	}
	inRange := b.FailureRatio >= 0 && b.FailureRatio <= 1 // false for NaN
	fail(!inRange, "failure_ratio must be between 0 and 1, not %v", b.FailureRatio)
	fail(b.FailureRatio > 0 && b.MinRequests < 1, "min_requests must be at least 1")
	fail(!(b.SlowRatio >= 0 && b.SlowRatio <= 1), "slow_ratio must be between 0 and 1, not %v", b.SlowRatio)
	fail(b.SlowRatio > 0 && b.SlowAfter <= 0, "slow_ratio needs a positive time")
	fail(b.SlowRatio > 0 && b.MinRequests < 1, "min_requests must be at least 1")
	fail(b.FailureRatio == 0 && b.ConsecutiveFailures == 0 && b.SlowRatio == 0, "has no rule: set failure_ratio, consecutive_failures or slow_ratio")
	fail(b.Hold < 0, "hold must not be negative")
	fail(b.ConsecutiveFailures < 0, "consecutive_failures must not be negative")
	fail(b.CoolDown <= 0, "cool_down must be positive")
	fail(b.Probes < 1, "probes must be at least 1")
	fail(b.ProbeTimeout < 0, "probe_timeout must not be negative")
	fail(b.Window < 0, "window must not be negative")
	return errs
}

// WithDefaults fills in the defaults that depend on Settings.LongestRun.
func (b BreakerSettings) WithDefaults(longestRun time.Duration) BreakerSettings {
	if b.Window == 0 {
		b.Window = max(MinWindow, WindowRuns*longestRun)
	}
	if b.ProbeTimeout == 0 {
		b.ProbeTimeout = longestRun + time.Second
		if longestRun == 0 {
			b.ProbeTimeout = MinWindow
		}
	}
	return b
}
