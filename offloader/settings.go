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
	// Linger keeps the permit of a cancelled run for a while longer, for
	// backends that go on working after a cancel. Zero: off.
	Linger time.Duration
	// Breaker of the pool. Nil: none.
	Breaker *BreakerSettings
	// LongestRun is the longest timeout of the callers. The breaker's window and probe
	// timeout default from it. Zero: unknown.
	LongestRun time.Duration
}

// BreakerSettings configure a pool's circuit breaker. It trips when either rule is met,
// and after as many timeouts in a row ([Permit.ReportTimeout]) as the pool has permits,
// at least MinTimeouts: a pool whose permits are all abandoned has no more results to
// count. Without a limit of permits it takes MinRequests timeouts in a row; that rule
// is off if FailureRatio is.
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
	} {
		if v.value < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", v.name))
		}
	}
	if s.Order > OrderFIFO {
		errs = append(errs, fmt.Errorf("unknown order %d", s.Order))
	}
	if s.Breaker != nil {
		errs = append(errs, s.Breaker.validate()...)
	}
	return errors.Join(errs...)
}

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
	fail(b.FailureRatio == 0 && b.ConsecutiveFailures == 0, "has no rule: set failure_ratio or consecutive_failures")
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
