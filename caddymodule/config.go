package caddymodule

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// PoolConfig configures a pool. Every field may be left out.
type PoolConfig struct {
	// How many requests may run at once: the number of permits. -1 is no limit.
	// Default: 8.
	Concurrency int `json:"concurrency,omitempty"`

	// How many requests may wait for a permit. 0 rejects when all permits are
	// taken. Default: 100.
	Queue *int `json:"queue,omitempty"`

	// The longest wait for a permit. -1 is until the client leaves.
	// Default: 10s.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	// The order of the queue. `auto` is first come, first served while the
	// queue is short, and newest first when it is too long to serve all in
	// time. `fifo` is always first come, first served. Default: `auto`.
	Order string `json:"order,omitempty"`

	// The circuit breaker. Default: trips when half of at least 20 results
	// are failures.
	Breaker *BreakerConfig `json:"breaker,omitempty"`

	// How much longer a cancelled run keeps its permit, for backends that
	// continue after a cancel. -1 is off. Default: off.
	Linger caddy.Duration `json:"linger,omitempty"`
}

// BreakerConfig configures a pool's circuit breaker. It trips when either of
// its two rules is met.
type BreakerConfig struct {
	// No breaker at all.
	Off bool `json:"off,omitempty"`

	// The share of failures among the results in the window that trips,
	// between 0 and 1. -1 switches this rule off. Default: 0.5.
	FailureRatio float64 `json:"failure_ratio,omitempty"`

	// How many results the window must hold before the ratio counts.
	// Default: 20.
	MinRequests int `json:"min_requests,omitempty"`

	// How many failures in a row trip. -1 is off. Default: off.
	ConsecutiveFailures int `json:"consecutive_failures,omitempty"`

	// The rolling window of the ratio. Default: 30s, or three times the
	// larger timeout of the pool's routes if that is more.
	Window caddy.Duration `json:"window,omitempty"`

	// How long the breaker stays open before it probes. Default: 10s.
	CoolDown caddy.Duration `json:"cool_down,omitempty"`

	// How many probes run at once while it is half-open; as many must
	// succeed. Default: 1.
	Probes int `json:"probes,omitempty"`

	// When a probe whose response has not begun well counts as a failure. Default:
	// one second more than the larger timeout of the pool's routes.
	ProbeTimeout caddy.Duration `json:"probe_timeout,omitempty"`
}

// SpoolConfig bounds the bodies that all routes together keep.
type SpoolConfig struct {
	// The folder for temporary files. It is made when it is first needed. If it
	// cannot be used, a warning is logged at load, and bodies stay in memory.
	// Default: `offload/spool` in Caddy's data folder.
	Dir string `json:"dir,omitempty"`

	// Bytes in memory, half for request bodies and half for responses.
	// Default: 256 MiB.
	Memory int64 `json:"memory,omitempty"`

	// Bytes in files, halved as well. Default: 8 GiB.
	Disk int64 `json:"disk,omitempty"`

	// How many request bodies are read at once. Default: 1000.
	Uploads int `json:"uploads,omitempty"`

	// The least rate of a request body in bytes a second, measured over about a
	// minute. A slower request is rejected with status 408, earlier if other
	// requests wait for its place among the uploads. -1 is off. Default: 500.
	MinRate int64 `json:"min_rate,omitempty"`
}

// settings returns the settings for the engine, with defaults. longestRun is the longest
// timeout of the pool's routes.
func (c PoolConfig) settings(longestRun time.Duration) (offloader.Settings, error) {
	s := offloader.DefaultSettings()
	s.LongestRun = longestRun
	if err := settings.Pool.Apply(&s, c); err != nil {
		return s, err
	}
	if c.Breaker != nil && c.Breaker.Off {
		s.Breaker = nil
	} else if err := settings.Breaker.Apply(&s, c.Breaker); err != nil {
		return s, err
	}
	return s, s.Validate()
}

func (c *SpoolConfig) limits() (spool.Limits, error) {
	l := spool.DefaultLimits()
	l.Dir = defaultSpoolDir()
	if c == nil {
		return l, nil
	}
	if c.Memory < 0 || c.Disk < 0 || c.Uploads < 0 || c.MinRate < optionvalue.Off {
		return l, errors.New("spool: memory, disk, uploads and min_rate must not be negative")
	}
	l.Dir = optionvalue.OrDefault(c.Dir, l.Dir)
	l.Memory = optionvalue.OrDefault(c.Memory, l.Memory)
	l.Disk = optionvalue.OrDefault(c.Disk, l.Disk)
	l.Uploads = optionvalue.OrDefault(c.Uploads, l.Uploads)
	l.MinRate = optionvalue.OrDefault(c.MinRate, l.MinRate)
	return l, nil
}

// checkWindow rejects a configured window that is too short for a configured timeout:
// runs that take as long would never count.
func checkWindow(c *BreakerConfig, timeouts ...caddy.Duration) error {
	if c == nil || c.Window <= 0 {
		return nil
	}
	for _, t := range timeouts {
		if t > 0 && c.Window/offloader.WindowRuns < t {
			return fmt.Errorf("breaker window %s is too short for the timeout %s, since such runs would never count: want at least %s, or leave it out",
				time.Duration(c.Window), time.Duration(t), time.Duration(offloader.WindowRuns*t))
		}
	}
	return nil
}
