// Package jobview has jobs in the form of the admin endpoint, which docs/openapi.yaml
// describes. The plugin for jobs writes it; commands and the status page read it.
package jobview

import (
	"strconv"
	"time"
)

// Segment is the first segment of the paths of jobs below /offload/.
const Segment = "jobs"

// List is a page of jobs, the newest first.
type List struct {
	Jobs []Job `json:"jobs"`
	// Next is the cursor of the next page, empty if there is none.
	Next string `json:"next,omitempty"`
}

// Job is a job without the secrets of its request.
type Job struct {
	ID     string `json:"id"`
	Route  string `json:"route"`
	Tenant string `json:"tenant,omitempty"`
	State  string `json:"state"`
	// Reason is why the job is in its state, WaitingFor why it waits: permit, breaker,
	// route, time or tenant. Position is its place in the queue of its route, from 1.
	Reason     string `json:"reason,omitempty"`
	WaitingFor string `json:"waiting_for,omitempty"`
	Position   int    `json:"position,omitempty"`

	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	KeepUntil time.Time `json:"keep_until,omitzero"`

	Generation  int       `json:"generation"`
	Attempt     int       `json:"attempt"`
	MaxAttempts int       `json:"max_attempts"`
	Repeatable  bool      `json:"repeatable"`
	Crashes     int       `json:"crashes,omitempty"`
	Attempts    []Attempt `json:"attempts"`
	Cancelled   *Cancel   `json:"cancel,omitempty"`

	Request  Request   `json:"request"`
	Response *Response `json:"response,omitempty"`
	// Bytes of the result so far.
	Bytes    int64     `json:"bytes"`
	Progress *Progress `json:"progress,omitempty"`
	Hook     *Hook     `json:"webhook,omitempty"`
}

// Attempt is one attempt; one without an end goes on, or was interrupted.
type Attempt struct {
	Generation int       `json:"generation"`
	Number     int       `json:"number"`
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended,omitzero"`
	Class      string    `json:"class,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Status     int       `json:"status,omitempty"`
	Bytes      int64     `json:"bytes"`
}

// Took returns how long the attempt has taken, until now if it goes on.
func (a Attempt) Took() time.Duration {
	if a.Ended.IsZero() {
		return time.Since(a.Began)
	}
	return a.Ended.Sub(a.Began)
}

// Cancel is a request to cancel a job.
type Cancel struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
}

// Request is a request without its query and its fields, which may hold secrets.
type Request struct {
	Method string `json:"method"`
	Host   string `json:"host"`
	Path   string `json:"path"`
	Client string `json:"client"`
	// ContentType and BodySize describe its body.
	ContentType string `json:"content_type,omitempty"`
	BodySize    int64  `json:"body_size"`
	// Keyed: it had an idempotency key.
	Keyed bool `json:"idempotency_key"`
}

// Line returns the method and the target.
func (r Request) Line() string { return r.Method + " " + r.Host + r.Path }

// Response is the answer of the upstream.
type Response struct {
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	Size        int64  `json:"size"`
	Complete    bool   `json:"complete"`
}

// Progress is how far the attempt is, as the upstream has reported it. A negative percentage
// is unknown.
type Progress struct {
	Percent float64   `json:"percent"`
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

// Text returns the progress, as in "40 %, page 2 of 5".
func (p *Progress) Text() string {
	switch {
	case p == nil:
		return ""
	case p.Percent < 0:
		return p.Message
	}
	text := strconv.FormatFloat(p.Percent, 'f', 0, 64) + " %"
	if p.Message != "" {
		text += ", " + p.Message
	}
	return text
}

// Hook is the webhook of a job. URL has neither userinfo nor a query.
type Hook struct {
	URL   string    `json:"url"`
	State string    `json:"state,omitempty"`
	Tries int       `json:"tries"`
	Next  time.Time `json:"next,omitzero"`
	Error string    `json:"error,omitempty"`
}

// Summary has the numbers of a store of jobs.
type Summary struct {
	Folder string  `json:"folder"`
	Routes []Route `json:"routes"` // by name
	// States counts the stored jobs by state: "running" has those that stream too.
	States map[string]int64 `json:"states"`
	Bytes  Bytes            `json:"bytes"`
	// Webhooks is how many are pending.
	Webhooks int      `json:"webhooks"`
	Recovery Recovery `json:"recovery"`
}

// Route has the numbers of a route. One that is not bound has jobs, and no configuration.
type Route struct {
	Name      string        `json:"name"`
	Bound     bool          `json:"bound"`
	Queued    int           `json:"queued"`
	RetryWait int           `json:"retry_wait"`
	Running   int           `json:"running"`
	Streaming int           `json:"streaming"` // the part of Running with a response that goes on
	Oldest    time.Duration `json:"oldest_ns"`
	MeanRun   time.Duration `json:"mean_run_ns"`
}

// Bytes is how much a store holds.
type Bytes struct {
	Database int64 `json:"database"`
	Free     int64 `json:"free"` // the part of Database
	Bodies   int64 `json:"bodies"`
	Results  int64 `json:"results"`
	Limit    int64 `json:"limit"` // zero: none
}

// Used returns how much of the limit is in use.
func (b Bytes) Used() int64 { return b.Database - b.Free + b.Bodies + b.Results }

// Recovery has the jobs that the store had when it was opened.
type Recovery struct {
	Took        time.Duration `json:"took_ns"`
	Crashed     bool          `json:"crashed"`
	Jobs        int           `json:"jobs"`
	Interrupted int           `json:"interrupted"`
}
