package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

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

	// How many requests may run at once at each upstream of the `reverse_proxy` behind,
	// whose `selection_policy` must be `offload`. Then `concurrency` is no limit, unless it
	// is set too. Default: off.
	UpstreamConcurrency *settings.UpstreamConcurrency `json:"upstream_concurrency,omitempty"`

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

	// The key of a request, as text with placeholders such as `{http.vars.client_ip}`.
	// Each key gets an equal part of the permit-time, whatever its number of requests and
	// the length of its runs. A request whose key is empty counts by its client's address.
	// Default: off; with `per_key` or `queue_per_key` the client's address.
	FairBy string `json:"fair_by,omitempty"`

	// How many permits one key may hold at once. -1 is off. Default: off.
	PerKey int `json:"per_key,omitempty"`

	// How many requests of one key may wait. -1 is off. Default: off.
	QueuePerKey int `json:"queue_per_key,omitempty"`

	// Classes of requests with their weights, the most urgent one first. Requests that
	// name none of them are of the class `normal`, or of the first one. Default: none.
	Classes []settings.Class `json:"classes,omitempty"`
}

// BreakerConfig configures a pool's circuit breaker. It trips when one of its rules is
// met.
type BreakerConfig struct {
	// No breaker at all.
	Off bool `json:"off,omitempty"`

	// The share of failures among the results in the window that trips,
	// between 0 and 1. -1 switches this rule off. Default: 0.5.
	FailureRatio float64 `json:"failure_ratio,omitempty"`

	// How many results the window must hold before a ratio counts.
	// Default: 20.
	MinRequests int `json:"min_requests,omitempty"`

	// How many failures in a row trip. -1 is off. Default: off.
	ConsecutiveFailures int `json:"consecutive_failures,omitempty"`

	// The share of slow runs among the results in the window that trips, and the time
	// after which a run is slow unless its response has begun. Default: off.
	SlowRatio *settings.SlowRatio `json:"slow_ratio,omitempty"`

	// The statuses of responses that are failures: codes from 400 to 599, and the
	// classes `4xx` and `5xx`. The class `5xx` is without 501 and 505. Default: `5xx`.
	Statuses []caddyhttp.WeakString `json:"statuses,omitempty"`

	// The rolling window of the ratios. Default: 30s, or three times the
	// larger timeout of the pool's routes if that is more.
	Window caddy.Duration `json:"window,omitempty"`

	// How long requests wait in the queue, instead of being rejected, after the breaker
	// has tripped. -1 is off. Default: off.
	Hold caddy.Duration `json:"hold,omitempty"`

	// How long the breaker stays open before it probes. With `hold` that is the longest
	// time: the first is 250ms, and each failed probe doubles it. Default: 10s.
	CoolDown caddy.Duration `json:"cool_down,omitempty"`

	// How many probes run at once while it is half-open; as many must
	// succeed. Default: 1.
	Probes int `json:"probes,omitempty"`

	// How long a probe may take to begin a good response before it counts as a
	// failure. Default: one second more than the larger timeout of the pool's routes.
	ProbeTimeout caddy.Duration `json:"probe_timeout,omitempty"`

	// `pool`, or `upstream` for a breaker of each upstream, which needs
	// `upstream_concurrency`. Default: `pool`.
	Scope string `json:"scope,omitempty"`
}

// SpoolConfig has the limits of all spooled bodies together, of all routes.
type SpoolConfig struct {
	// The folder for temporary files. It is made when it is first needed. If it
	// cannot be used, a warning is logged at load, and bodies stay in memory.
	// Default: `offload/spool` in Caddy's data folder.
	Dir string `json:"dir,omitempty"`

	// The limit of bytes in memory, half for request bodies and half for responses.
	// Default: 256 MiB.
	Memory int64 `json:"memory,omitempty"`

	// The limit of bytes in files, halved as well. Default: 8 GiB.
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
	s.Fair = c.FairBy != ""
	if s.UpstreamConcurrency > 0 && c.Concurrency == 0 {
		s.Concurrency = 0 // the upstreams limit the pool
	}
	if c.Breaker != nil && c.Breaker.Off {
		s.Breaker = nil
	} else if err := settings.Breaker.Apply(&s, c.Breaker); err != nil {
		return s, err
	}
	return s, errors.Join(c.checkFairBy(), c.checkHold(), s.Validate())
}

func (c PoolConfig) checkFairBy() error {
	if c.FairBy == "" {
		return nil
	}
	return optionvalue.CheckPlaceholder("fair_by", c.FairBy)
}

// checkHold rejects a breaker whose requests could wait nowhere.
func (c PoolConfig) checkHold() error {
	if c.Breaker == nil || c.Breaker.Hold <= 0 || c.Queue == nil || *c.Queue != 0 {
		return nil
	}
	return fmt.Errorf("breaker hold %s lets requests wait, and queue 0 has no place for them: raise 'queue', or leave 'hold' out",
		time.Duration(c.Breaker.Hold))
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

// checkWindow rejects a configured breaker window that is too short for a configured
// timeout: runs that take that long would never count.
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

// checkSlow rejects a configured time of slow runs that is above a configured timeout of
// the only route: runs that take as long are ended before they are slow.
func checkSlow(c *BreakerConfig, timeouts ...caddy.Duration) error {
	if c == nil || c.SlowRatio == nil {
		return nil
	}
	for _, t := range timeouts {
		if slow := c.SlowRatio.Time; t > 0 && slow > t {
			return fmt.Errorf("breaker slow_ratio would count no run, since the timeout %s ends each before it has taken %s: lower that time, or leave it out",
				time.Duration(t), time.Duration(slow))
		}
	}
	return nil
}

// shortQueue reports whether the queue is too short for runs of that length, and how many
// such runs the permits serve in a second. If run is zero, the length is not known, and
// only a pool without a queue is too short.
func shortQueue(s offloader.Settings, run time.Duration) (inSecond int, short bool) {
	switch {
	case s.Concurrency == 0: // it never fills
		return 0, false
	case run == 0:
		return 0, s.Queue == 0
	}
	inSecond = int(time.Duration(s.Concurrency) * time.Second / run)
	return inSecond, s.Queue < inSecond
}

func defaultSpoolDir() string { return filepath.Join(caddy.AppDataDir(), "offload", "spool") }

// routeTimeouts has the timeouts of a handler: those that are configured, and the longest
// one in force.
type routeTimeouts struct {
	written []caddy.Duration
	longest time.Duration
	shadow  bool // the route lets all requests through
}

func sameConfig(a, b PoolConfig) bool { return reflect.DeepEqual(a, b) }

const (
	defaultSpoolMemory = 256 << 10
	defaultSpoolFile   = 1 << 30
)

// SpoolBounds are the limits of one spooled body, in bytes.
type SpoolBounds struct {
	// Nothing is kept: the body is passed on as it comes, and the permit is
	// held for as long as that takes.
	Off bool `json:"off,omitempty"`
	// How much in memory.
	Memory int64 `json:"memory,omitempty"`
	// How much more in a file.
	File int64 `json:"file,omitempty"`
}

func (b *SpoolBounds) check(word string) error {
	switch {
	case b == nil:
		return nil
	case b.Memory < 0 || b.File < 0:
		return fmt.Errorf("%s: sizes must not be negative", word)
	case b.Memory > optionvalue.MaxSize || b.File > optionvalue.MaxSize:
		return fmt.Errorf("%s: sizes must not be above %d", word, int64(optionvalue.MaxSize))
	case b.Off != (b.Memory+b.File == 0):
		return fmt.Errorf("%s: set 'memory' or 'file' above zero, or 'off' without them", word)
	}
	return nil
}

func (b *SpoolBounds) bounds() spool.Bounds {
	switch {
	case b == nil:
		return spool.Bounds{Memory: defaultSpoolMemory, File: defaultSpoolFile}
	case b.Off:
		return spool.Bounds{}
	}
	return spool.Bounds{Memory: b.Memory, File: b.File}
}

// minAbandonTimeout is the shortest default of abandon_timeout.
const minAbandonTimeout = 30 * time.Second

// defaultAbandonTimeout returns the default of abandon_timeout: the longest timeout of the
// route, at least minAbandonTimeout. Without timeouts there is no limit for abandoned runs
// either.
func defaultAbandonTimeout(longest time.Duration) caddy.Duration {
	if longest == 0 {
		return optionvalue.Off
	}
	return caddy.Duration(max(longest, minAbandonTimeout))
}

// nameless derives a name that is not taken from the settings of a pool without a name.
func nameless(c PoolConfig, taken func(name string) bool) string {
	text, err := json.Marshal(c)
	if err != nil {
		return "unnamed" // cannot happen: it came from JSON
	}
	sum := sha256.Sum256(text)
	for n := 1; ; n++ {
		name := fmt.Sprintf("unnamed-%s-%d", hex.EncodeToString(sum[:4]), n)
		if !taken(name) {
			return name
		}
	}
}
