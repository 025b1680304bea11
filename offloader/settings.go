package offloader

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of a pool. They suit a backend of which nothing is known yet.
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
	// WindowRuns is how many of the longest runs a breaker's window should hold:
	// a result is booked at the time its run started, so a run that outlives
	// the window never counts, unless it is reported as a timeout.
	WindowRuns = 3
)

// Order says which waiter gets the next permit.
type Order uint8

const (
	// OrderAuto serves first come, first served while the queue is short
	// enough, and newest first beyond that. See [Pool.Acquire].
	OrderAuto Order = iota
	// OrderFIFO always serves first come, first served.
	OrderFIFO
)

// ParseOrder reads an order by the name it has in a configuration.
func ParseOrder(name string) (Order, error) {
	switch name {
	case "", "auto":
		return OrderAuto, nil
	case "fifo":
		return OrderFIFO, nil
	}
	return OrderAuto, fmt.Errorf("unknown order '%s': want 'auto' or 'fifo'", name)
}

// String returns the name of the order in a configuration.
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
	// Queue is the number of places to wait. Zero: refuse when all permits
	// are taken.
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
	// LongestRun is the longest timeout among the callers of this pool. The
	// breaker's window and probe timeout default from it. Zero: unknown.
	LongestRun time.Duration
}

// BreakerSettings configure a pool's circuit breaker. It trips when either
// rule is met, and after as many timeouts in a row (Permit.ReportTimeout) as the
// pool has permits, at least MinTimeouts: a pool whose permits are all abandoned has
// no more results to count. Without a limit of permits it takes MinRequests timeouts
// in a row, or that rule is off where FailureRatio is.
type BreakerSettings struct {
	// FailureRatio of the results in the window that trips, above 0 and up to
	// 1. Zero: this rule is off.
	FailureRatio float64
	// MinRequests is the number of results in the window below which
	// FailureRatio says nothing.
	MinRequests int
	// ConsecutiveFailures that trip. Zero: this rule is off.
	ConsecutiveFailures int
	// Window that results are counted over. Zero: the larger of MinWindow and
	// WindowRuns x Settings.LongestRun.
	Window time.Duration
	// CoolDown is how long the breaker stays open before it probes, and how long one
	// limit holds at most while the pool warms up after that.
	CoolDown time.Duration
	// Probes is how many runs may probe at once, and how many must succeed to
	// close the breaker. A probe waits in the queue when no permit is free; other
	// callers are refused meanwhile.
	Probes int
	// ProbeTimeout is when a probe that has neither begun well (Permit.Began) nor
	// ended counts as failed, so that a hung one cannot keep the breaker
	// half-open. Zero: one second more than Settings.LongestRun, or MinWindow if
	// that is unknown.
	ProbeTimeout time.Duration
}

// DefaultSettings returns the settings of a pool for which nothing was set.
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

// Validate reports every setting that makes no sense.
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
	inRange := b.FailureRatio >= 0 && b.FailureRatio <= 1 // which no NaN is
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

// WithDefaults fills in what depends on Settings.LongestRun.
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
