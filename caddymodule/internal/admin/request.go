package admin

import (
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// A request that is just between two phases cannot be cancelled; it will not be
// there for long.
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
	id, ok := requests.ParseID(c.name)
	if !ok {
		return failed(http.StatusNotFound, "no request '%s': that is not an id", c.name)
	}
	for range cancelTries {
		run := serving.FindRun(id)
		if run == nil {
			return failed(http.StatusNotFound, "no request '%s': it has ended, or there never was one", c.name)
		}
		if phase, ok := run.Interrupt(); ok {
			pool := run.Route.Pool.Name()
			pools.Log(zapcore.InfoLevel, "request cancelled", pool, byAdmin, zap.String("id", c.name), zap.Stringer("phase", phase))
			return c.answer(http.StatusOK, cancelled{c.name, pool, phase})
		}
		time.Sleep(cancelPause)
	}
	if run := serving.FindRun(id); run != nil && run.CancelledFor() != 0 {
		return failed(http.StatusConflict, "request '%s' has been cancelled or has timed out, and its handler has not ended yet", c.name)
	}
	return failed(http.StatusConflict, "request '%s' could not be cancelled: try again", c.name)
}

// Explanation is the end of a request, as the admin endpoint shows it.
type Explanation struct {
	ID   string `json:"id"`
	Pool string `json:"pool"`
	// At is when it was decided; missing while nothing is decided.
	At     *time.Time `json:"at,omitempty"`
	Client string     `json:"client"`
	Method string     `json:"method"`
	Host   string     `json:"host"`
	Path   string     `json:"path"`
	// Decision is rejected, timed_out, cancelled, left, abandoned, or pending.
	// Phase is how far a pending request has come.
	Decision string `json:"decision"`
	Phase    string `json:"phase,omitempty"`
	// Reason is its word, Text what it means; both are missing without one.
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text,omitempty"`
	// Unspooled is the kind for which its body was passed on as it came.
	Unspooled string `json:"unspooled,omitempty"`
	// Upload is how long its body was taken in, Waited how long it waited after
	// that, Ran how long its run took.
	Upload time.Duration `json:"upload_ns"`
	Waited time.Duration `json:"waited_ns"`
	Ran    time.Duration `json:"ran_ns"`
	// Sends is how often it was sent to a backend: 0 if it never was, or by a
	// handler that does not say.
	Sends int32 `json:"sends"`
	// Ahead is how many were to be served before it when it came to the queue,
	// PredictedWait how long that was to take.
	Ahead         int           `json:"ahead"`
	PredictedWait time.Duration `json:"predicted_wait_ns"`
	// Then are the pool's numbers when it was decided.
	Then pressure `json:"then"`
}

// pressure is what a pool had to do at some moment.
type pressure struct {
	Running    int    `json:"running"`
	Limit      int    `json:"limit"`
	Waiting    int    `json:"waiting"`
	QueueLimit int    `json:"queue_limit"`
	Breaker    string `json:"breaker"`
}

func viewExplanation(e requests.Explanation) Explanation {
	v := Explanation{
		ID: e.ID.String(), Pool: e.Pool, At: &e.At,
		Client: e.Who.Read(e.Who.Client), Method: e.Who.Read(e.Who.Method),
		Host: e.Who.Read(e.Who.Host), Path: e.Who.Read(e.Who.Path),
		Decision: e.Decision.String(), Unspooled: e.Unspooled, Upload: e.Upload, Waited: e.Waited, Ran: e.Took, Sends: e.Sends,
		Ahead: e.Ahead, PredictedWait: e.Predicted, Then: pressureOf(e.Pressure),
	}
	if e.Reason != 0 {
		v.Reason, v.Text = e.Reason.String(), e.Reason.Text()
	}
	return v
}

// pending describes a request of which nothing is decided yet.
func pending(run *serving.Run) Explanation {
	r := run.View(time.Now())
	v := Explanation{
		ID: r.ID, Pool: r.Pool, Client: r.Client, Method: r.Method, Host: r.Host, Path: r.Path,
		Decision: "pending", Phase: r.Phase.String(), Unspooled: r.Unspooled, Then: pressureOf(run.Route.Pool.Gauges()),
	}
	if reason := run.CancelledFor(); reason != 0 {
		v.Reason, v.Text = reason.String(), reason.Text()
	}
	return v
}

func explainRequest(c *adminCall) error {
	id, ok := requests.ParseID(c.name)
	if !ok {
		return failed(http.StatusNotFound, "no request '%s': that is not an id", c.name)
	}
	if e, ok := requests.Explained.Find(id); ok {
		return c.answer(http.StatusOK, viewExplanation(e))
	}
	if run := serving.FindRun(id); run != nil {
		return c.answer(http.StatusOK, pending(run))
	}
	return failed(http.StatusNotFound, "nothing is known of request '%s': it was served, or is forgotten", c.name)
}

// defaultExplanations is how many are listed without a limit in the query.
const defaultExplanations = 20

func listExplanations(c *adminCall) error {
	n := defaultExplanations
	if text := c.r.URL.Query().Get("limit"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > requests.MaxExplain {
			return failed(http.StatusBadRequest, "bad limit value '%s': want a whole number from 1 to %d", text, requests.MaxExplain)
		}
	}
	all := []Explanation{}
	for _, e := range requests.Explained.Last(n) {
		all = append(all, viewExplanation(e))
	}
	return c.answer(http.StatusOK, map[string]any{"explanations": all})
}
