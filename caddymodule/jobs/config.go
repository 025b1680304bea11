package jobs

import (
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// RouteConfig has the settings of the jobs of a route.
type RouteConfig struct {
	// The name of the route in the store, which its jobs keep when the configuration
	// changes. Default: that of the pool, if the route alone has it, else one that is
	// made of the site and the matcher.
	Name string `json:"name,omitempty"`

	// Which requests may become jobs: those whose client prefers it (`prefer`), all
	// (`always`) or none (`off`). Jobs that are stored run in any case. Default: `prefer`.
	Accept string `json:"accept,omitempty"`

	// How long a client waits for the response before it gets a job instead, unless it
	// prefers another time. -1 is off: it gets a job at once. Default: 2s.
	Wait caddy.Duration `json:"wait,omitempty"`

	// The longest time that a client may prefer to wait. Default: 60s.
	LongestWait caddy.Duration `json:"longest_wait,omitempty"`

	// The path of the directive `offload_jobs` as clients see it, under which they find
	// their jobs. Default: that of the first one of the server.
	Location string `json:"location,omitempty"`

	// Whether the work goes on as a job when the client leaves before it has got one.
	Detach bool `json:"detach,omitempty"`

	// How long a job stays after its end. Default: 24h.
	Keep caddy.Duration `json:"keep,omitempty"`

	// How long a job stays whose attempts have all failed. Default: 7d.
	KeepDead caddy.Duration `json:"keep_dead,omitempty"`

	// The client that a job counts for in limits and in the order of service, as a text
	// with placeholders. Default: the key of the pool, else the address of the client.
	Tenant string `json:"tenant,omitempty"`

	// The identity of the client that may use a job, as a text with placeholders. Default:
	// the authenticated user, else the field `Authorization`, else any client that has the
	// URL of the job.
	Owner string `json:"owner,omitempty"`

	// How often a job is run at most, with the first time. Default: 4.
	Attempts int `json:"attempts,omitempty"`

	// The longest time of an attempt. -1 is off. Default: 5m.
	AttemptTimeout caddy.Duration `json:"attempt_timeout,omitempty"`

	// How long a job may wait for its first attempt. -1 is off. Default: 1h.
	QueueTime caddy.Duration `json:"queue_time,omitempty"`

	// The longest time of a job in all. -1 is off. Default: 24h.
	TotalTime caddy.Duration `json:"total_time,omitempty"`

	// The time before the second attempt, which doubles with each further one. It is varied
	// at random. Default: 1s.
	MinBackoff caddy.Duration `json:"min_backoff,omitempty"`

	// The longest time between two attempts. Default: 5m.
	MaxBackoff caddy.Duration `json:"max_backoff,omitempty"`

	// The statuses that are failures, as codes and classes. Default: `5xx`, without 501 and
	// 505.
	FailOn string `json:"fail_on,omitempty"`

	// Whether a job may be run again after an attempt whose end is not known, with any
	// method. Otherwise only with methods that may be repeated, or with an idempotency key
	// of the client.
	AtLeastOnce bool `json:"at_least_once,omitempty"`

	// The field `Idempotency-Key`: clients may send it (`on`), must send it (`required`),
	// must send it and get an error while the first request runs (`strict`), or it has no
	// meaning here (`off`). Default: `on`.
	Idempotency string `json:"idempotency,omitempty"`

	// How long an idempotency key is known. Default: 24h.
	KeyTTL caddy.Duration `json:"key_ttl,omitempty"`

	// The largest body of a request in bytes. Default: 10 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// The largest result in bytes. Default: 256 MiB.
	MaxResult int64 `json:"max_result,omitempty"`

	// How many jobs of the route run at once, at most. Default: as many as the pool allows.
	Concurrency int `json:"concurrency,omitempty"`

	// Whether the field `Authorization` of requests is stored, and sent to the upstream.
	KeepAuthorization bool `json:"keep_authorization,omitempty"`

	// Fields of requests that are stored although they may hold secrets, such as `Cookie`.
	KeepHeader []string `json:"keep_header,omitempty"`

	// The address at which the upstream reaches the directive `offload_jobs`, such as
	// `http://127.0.0.1:8080`. With it, requests to the upstream have the field
	// `Offload-Progress-Url`, a URL that takes reports about the progress of the job.
	// Default: none.
	ProgressURL string `json:"progress_url,omitempty"`

	// Sends a message to an endpoint when a job has ended.
	Webhook *webhook.Config `json:"webhook,omitempty"`

	// The routes that run the jobs.
	Handle caddyhttp.RouteList `json:"handle,omitempty"`
}

// Values of the options accept and idempotency.
const (
	acceptPrefer = "prefer"
	acceptAlways = "always"

	keysRequired = "required"
	keysStrict   = "strict"

	on  = "on"
	off = "off"
)

var (
	acceptValues = []string{acceptPrefer, acceptAlways, off}
	keyValues    = []string{on, keysRequired, keysStrict, off}
)

// Defaults of a route.
const (
	defaultWait           = caddy.Duration(2 * time.Second)
	defaultLongestWait    = caddy.Duration(time.Minute)
	defaultLocation       = "/.jobs/"
	defaultKeep           = caddy.Duration(24 * time.Hour)
	defaultKeepDead       = caddy.Duration(7 * 24 * time.Hour)
	defaultAttempts       = 4
	maxAttempts           = 1000
	defaultAttemptTimeout = caddy.Duration(5 * time.Minute)
	defaultQueueTime      = caddy.Duration(time.Hour)
	defaultTotalTime      = caddy.Duration(24 * time.Hour)
	defaultMinBackoff     = caddy.Duration(time.Second)
	defaultMaxBackoff     = caddy.Duration(5 * time.Minute)
	defaultKeyTTL         = caddy.Duration(24 * time.Hour)
	defaultMaxBody        = 10 << 20
	defaultMaxResult      = 256 << 20
)

// policy returns how the jobs of the route are run.
func (c *RouteConfig) policy() jobs.Policy {
	or := func(d, otherwise caddy.Duration) time.Duration {
		return time.Duration(optionvalue.OrDefault(d, otherwise))
	}
	return jobs.Policy{
		MaxAttempts:    optionvalue.OrDefault(c.Attempts, defaultAttempts),
		AttemptTimeout: or(c.AttemptTimeout, defaultAttemptTimeout),
		QueueTime:      or(c.QueueTime, defaultQueueTime),
		TotalTime:      or(c.TotalTime, defaultTotalTime),
		MinBackoff:     or(c.MinBackoff, defaultMinBackoff),
		MaxBackoff:     max(or(c.MaxBackoff, defaultMaxBackoff), or(c.MinBackoff, defaultMinBackoff)),
		Keep:           or(c.Keep, defaultKeep),
		KeepDead:       or(c.KeepDead, defaultKeepDead),
		MaxResult:      optionvalue.OrDefault(c.MaxResult, defaultMaxResult),
	}
}

// keptFields returns the names of the fields with secrets that are stored.
func (c *RouteConfig) keptFields() []string {
	var names []string
	for _, name := range c.KeepHeader {
		names = append(names, textproto.CanonicalMIMEHeaderKey(name))
	}
	if c.KeepAuthorization {
		names = append(names, "Authorization")
	}
	return names
}

// check returns the errors of a configuration that did not come from a Caddyfile.
func (c *RouteConfig) check() error {
	var errs []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fail(c.Accept != "" && !slices.Contains(acceptValues, c.Accept), "unknown accept '%s': want %s", c.Accept, strings.Join(acceptValues, " or "))
	fail(c.Idempotency != "" && !slices.Contains(keyValues, c.Idempotency), "unknown idempotency '%s': want %s", c.Idempotency, strings.Join(keyValues, " or "))
	for name, d := range map[string]caddy.Duration{
		"wait": c.Wait, "attempt_timeout": c.AttemptTimeout, "queue_time": c.QueueTime, "total_time": c.TotalTime,
	} {
		fail(d < optionvalue.Off, "%s must not be negative", name)
	}
	for name, n := range map[string]int64{
		"longest_wait": int64(c.LongestWait), "keep": int64(c.Keep), "keep_dead": int64(c.KeepDead), "key_ttl": int64(c.KeyTTL),
		"min_backoff": int64(c.MinBackoff), "max_backoff": int64(c.MaxBackoff),
		"max_body": c.MaxBody, "max_result": c.MaxResult, "concurrency": int64(c.Concurrency), "attempts": int64(c.Attempts),
	} {
		fail(n < 0, "%s must not be negative", name)
	}
	fail(c.Attempts > maxAttempts, "attempts %d is above %d", c.Attempts, maxAttempts)
	fail(len(c.Handle) == 0, "jobs need 'handle' with the directives that run them")
	errs = append(errs, checkTenant(c.Tenant), owner.Check(c.Owner), checkFailOn(c.FailOn), checkLocation(c.Location), checkProgressURL(c.ProgressURL), c.contradiction())
	for _, name := range c.KeepHeader {
		errs = append(errs, checkKept(name))
	}
	if c.Webhook != nil {
		errs = append(errs, c.Webhook.Validate())
	}
	return errors.Join(errs...)
}

// contradiction returns an error about two options that contradict each other.
func (c *RouteConfig) contradiction() error {
	wait, longest := optionvalue.OrDefault(c.Wait, defaultWait), optionvalue.OrDefault(c.LongestWait, defaultLongestWait)
	least, most := optionvalue.OrDefault(c.MinBackoff, defaultMinBackoff), optionvalue.OrDefault(c.MaxBackoff, defaultMaxBackoff)
	switch {
	case wait > longest:
		return fmt.Errorf("wait %s is above longest_wait %s: raise longest_wait, or lower wait", time.Duration(wait), time.Duration(longest))
	case c.MaxBackoff != 0 && least > most:
		return fmt.Errorf("min_backoff %s is above max_backoff %s", time.Duration(least), time.Duration(most))
	}
	return nil
}

func checkTenant(text string) error {
	if text == "" {
		return nil
	}
	return optionvalue.CheckPlaceholder("tenant", text)
}

func checkFailOn(text string) error {
	if _, err := outcome.ParseStatuses(text); err != nil {
		return fmt.Errorf("bad fail_on value %w", err)
	}
	return nil
}

func checkLocation(path string) error {
	if path != "" && (!strings.HasPrefix(path, "/") || strings.ContainsAny(path, "*?# {}")) {
		return fmt.Errorf("bad location value '%s': want a path such as /.jobs/, as clients see it", path)
	}
	return nil
}

// checkKept rejects fields that are never stored.
func checkKept(name string) error {
	switch {
	case !message.ValidName(name):
		return fmt.Errorf("bad keep_header value '%s': want the name of a field", name)
	case message.PerConnection(name):
		return fmt.Errorf("bad keep_header value '%s': this field belongs to one connection and is never stored", name)
	}
	return nil
}
