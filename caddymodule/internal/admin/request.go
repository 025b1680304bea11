package admin

import (
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// A request that is just between two phases cannot be cancelled, so the call tries again a
// little later.
const (
	cancelTries = 100
	cancelPause = time.Millisecond
)

// cancelled describes a cancelled request.
type cancelled struct {
	ID    string         `json:"id"`
	Pool  string         `json:"pool"`
	Phase requests.Phase `json:"phase"`
}

func cancelRequest(c *adminCall) error {
	id, ok := requests.ParseID(c.Name)
	if !ok {
		return adminroute.Failed(http.StatusNotFound, "no request '%s': that is not an id", c.Name)
	}
	for range cancelTries {
		run := serving.FindRun(c.process.Pools, id)
		if run == nil {
			return adminroute.Failed(http.StatusNotFound, "no request '%s': it has ended, or there never was one", c.Name)
		}
		if phase, ok := run.Interrupt(); ok {
			pool := run.Route.Pool
			pool.Logger().Info("request cancelled by an operator", byAdmin, zap.String("id", c.Name), zap.Stringer("phase", phase))
			return c.Answer(http.StatusOK, cancelled{c.Name, pool.Name(), phase})
		}
		time.Sleep(cancelPause)
	}
	if run := serving.FindRun(c.process.Pools, id); run != nil && run.CancelledFor() != 0 {
		return adminroute.Failed(http.StatusConflict, "request '%s' has been cancelled or has timed out, and its handler has not ended yet", c.Name)
	}
	return adminroute.Failed(http.StatusConflict, "request '%s' could not be cancelled: try again", c.Name)
}

// Explanation is the end of a request, as the admin endpoint shows it.
type Explanation struct {
	ID   string `json:"id"`
	Pool string `json:"pool"`
	// At is the time of the decision; missing while nothing is decided.
	At     *time.Time `json:"at,omitempty"`
	Client string     `json:"client"`
	Method string     `json:"method"`
	Host   string     `json:"host"`
	Path   string     `json:"path"`
	// Decision is rejected, timed_out, cancelled, left, abandoned, served, or pending.
	// Phase is how far a pending request has come.
	Decision string `json:"decision"`
	Phase    string `json:"phase,omitempty"`
	// Reason is the name of the reason, Text its explanation; both are missing without one.
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text,omitempty"`
	// Sentences explain the decision with its numbers.
	Sentences []string `json:"sentences"`
	// Status is the status of the answer, HandedOn the time in which the client received
	// the rest of it after the run, Total the time from the arrival to the end of that. All
	// are only for served requests.
	Status   int           `json:"status,omitempty"`
	HandedOn time.Duration `json:"handed_on_ns,omitempty"`
	Total    time.Duration `json:"total_ns,omitempty"`
	// Class, Key and Cost are the claim of the request as the pool counts it; missing in a
	// pool that needs none.
	Class string `json:"class,omitempty"`
	Key   string `json:"key,omitempty"`
	Cost  int    `json:"cost,omitempty"`
	// Unspooled is the kind because of which the body was passed on as it arrived.
	Unspooled string `json:"unspooled,omitempty"`
	// Upload is the time of the upload, Waited the wait after it, Ran the time of the run.
	Upload time.Duration `json:"upload_ns"`
	Waited time.Duration `json:"waited_ns"`
	Ran    time.Duration `json:"ran_ns"`
	// Sends is how many times the request was sent to a backend. It is 0 if the
	// request was never sent, or if the handler that sent it does not report that.
	Sends int32 `json:"sends"`
	// Ahead is the number of waiters in front of the request when it came to the queue,
	// PredictedWait its predicted wait.
	Ahead         int           `json:"ahead"`
	PredictedWait time.Duration `json:"predicted_wait_ns"`
	// Then has the pool's numbers at the time of the decision.
	Then pressure `json:"then"`
	// Record describes the pool's decision, missing if the pool has decided nothing, or has
	// granted a permit at once.
	Record *decisionRecord `json:"record,omitempty"`
	// Budget is the time that the request may use in all, missing without a limit.
	Budget *requests.Budget `json:"budget,omitempty"`
}

// decisionRecord is offloader.Record in the form of the endpoint.
type decisionRecord struct {
	Joined        bool          `json:"joined"`
	Before        *int          `json:"before,omitempty"`
	Run           time.Duration `json:"run_ns"`
	Rest          time.Duration `json:"rest_ns"`
	Waited        time.Duration `json:"waited_ns"`
	MaxWait       time.Duration `json:"max_wait_ns"`
	Order         string        `json:"order"`
	NewestFirst   bool          `json:"newest_first"`
	Concurrency   int           `json:"concurrency"`
	Configured    int           `json:"configured_concurrency"`
	WarmingUp     int           `json:"warming_up,omitempty"`
	Lent          int           `json:"lent,omitempty"`
	Paused        bool          `json:"paused,omitempty"`
	BreakerHeld   bool          `json:"breaker_held,omitempty"`
	BusyFor       time.Duration `json:"busy_for_ns"`
	DisplacedBy   string        `json:"displaced_by,omitempty"`
	KeyWaiting    int           `json:"key_waiting,omitempty"`
	Breaker       string        `json:"breaker"`
	BreakerForced bool          `json:"breaker_forced,omitempty"`
	ProbesIn      time.Duration `json:"probes_in_ns,omitempty"`
	RetryAfter    time.Duration `json:"retry_after_ns,omitempty"`
}

func viewRecord(e *requests.Explanation) *decisionRecord {
	if !e.Recorded {
		return nil
	}
	r := &e.Record
	v := &decisionRecord{
		Joined: r.Joined, Run: r.Run, Rest: r.Rest, Waited: r.Waited, MaxWait: r.MaxWait,
		Order: r.Order.String(), NewestFirst: r.NewestFirst,
		Concurrency: r.Concurrency, Configured: r.Configured, WarmingUp: r.WarmingUp, Lent: r.Lent, Paused: r.Paused, BreakerHeld: r.Held, BusyFor: r.BusyFor, KeyWaiting: r.KeyWaiting,
		Breaker: r.Breaker.String(), BreakerForced: r.BreakerForced, ProbesIn: r.ProbesIn, RetryAfter: r.Retry,
	}
	if r.Before != offloader.UnknownPlace {
		v.Before = &r.Before
	}
	if e.DisplacedBy != 0 {
		v.DisplacedBy = e.DisplacedBy.String()
	}
	return v
}

func viewExplanation(e requests.Explanation) Explanation {
	ahead, predicted := e.Ahead()
	v := Explanation{
		ID: e.ID.String(), Pool: e.Pool, At: &e.At, Sentences: e.Sentences(), Status: e.Status, HandedOn: e.Handed, Record: viewRecord(&e), Budget: e.Budget.OrNil(),
		Client: e.Who.Read(e.Who.Client), Method: e.Who.Read(e.Who.Method),
		Host: e.Who.Read(e.Who.Host), Path: e.Who.Read(e.Who.Path),
		Class: e.Record.Claim.Class, Key: e.Record.Claim.Key, Cost: e.Record.Claim.Cost,
		Decision: e.Decision.String(), Unspooled: e.Unspooled, Upload: e.Upload, Waited: e.Waited, Ran: e.Took, Sends: e.Sends,
		Ahead: ahead, PredictedWait: predicted, Then: pressureOf(e.Pressure),
	}
	if e.Decision == requests.DecidedServed {
		v.Total = e.Total()
	}
	if e.Reason != 0 {
		v.Reason, v.Text = e.Reason.String(), e.Reason.Text()
	}
	return v
}

// pending describes a request of which nothing is decided yet.
func pending(run *serving.Run) Explanation {
	r := run.View(time.Now())
	if r.Phase == requests.PhaseWaiting {
		r = inQueue(run.Route.Pool, r)
		r.Held = run.Route.Pool.Snapshot().Held > 0
	}
	v := Explanation{
		Sentences: r.Sentences(),
		ID:        r.ID, Pool: r.Pool, Client: r.Client, Method: r.Method, Host: r.Host, Path: r.Path,
		Class: r.Class, Key: r.Key, Cost: r.Cost,
		Decision: "pending", Phase: r.Phase.String(), Unspooled: r.Unspooled, Then: pressureOf(run.Route.Pool.Gauges()),
	}
	if reason := run.CancelledFor(); reason != 0 {
		v.Reason, v.Text = reason.String(), reason.Text()
	}
	return v
}

// inQueue returns a waiting request with its place in the queue.
func inQueue(p *pools.Pool, r requests.View) requests.View {
	for _, waiting := range serving.Waiting(p) {
		if waiting.ID == r.ID {
			return waiting
		}
	}
	return r // it has left the queue meanwhile
}

func explainRequest(c *adminCall) error {
	id, ok := requests.ParseID(c.Name)
	if !ok {
		return adminroute.Failed(http.StatusNotFound, "no request '%s': that is not an id", c.Name)
	}
	if e, ok := c.process.Explained.Find(id); ok {
		return c.Answer(http.StatusOK, viewExplanation(e))
	}
	if run := serving.FindRun(c.process.Pools, id); run != nil {
		return c.Answer(http.StatusOK, pending(run))
	}
	return adminroute.Failed(http.StatusNotFound, "nothing is known of request '%s': it was served and was not slow, or is forgotten", c.Name)
}

// defaultExplanations is how many are listed without a limit in the query.
const defaultExplanations = 20

func listExplanations(c *adminCall) error {
	n := defaultExplanations
	if text := c.R.URL.Query().Get("limit"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > requests.MaxExplain {
			return adminroute.Failed(http.StatusBadRequest, "bad limit value '%s': want a whole number from 1 to %d", text, requests.MaxExplain)
		}
	}
	return c.Answer(http.StatusOK, map[string]any{
		"explanations": viewExplanations(c.process.Explained.Last(n)),
		"slowest":      viewExplanations(c.process.Explained.Slowest(n)),
	})
}

func viewExplanations(list []requests.Explanation) []Explanation {
	all := make([]Explanation, 0, len(list))
	for _, e := range list {
		all = append(all, viewExplanation(e))
	}
	return all
}
