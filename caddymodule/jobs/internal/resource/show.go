package resource

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/prefer"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// showJob answers with the state of the job.
func showJob(c *call) {
	c.w.Header().Set("Vary", "Prefer")
	known := c.r.Header.Values("If-None-Match")
	changed := func(v *jobs.View) bool { return !matches(known, quote(v.Version), true) }
	if len(known) == 0 {
		changed = func(v *jobs.View) bool { return v.State.Terminal() }
	}
	if !c.wait(changed) {
		return
	}
	h := c.w.Header()
	h.Set("ETag", quote(c.view.Version))
	c.hint()
	switch v := &c.view; {
	case redirects(c, v):
		h.Set("Location", c.path(c.id, "result"))
		c.write(http.StatusSeeOther)
	case matches(known, quote(v.Version), true):
		c.w.WriteHeader(http.StatusNotModified)
	default:
		c.write(http.StatusOK)
	}
}

// redirects reports whether the client is sent to the result. A signed link of the state does
// not grant the result.
func redirects(c *call, v *jobs.View) bool {
	return c.options.Redirect && hasResult(v) && !c.r.URL.Query().Has(tokenParam)
}

// write answers with the job.
func (c *call) write(status int) {
	h := c.w.Header()
	h.Set("Offload-Job-State", c.view.State.String())
	c.writeJSON(status, c.document(&c.view))
}

func (c *call) writeJSON(status int, v any) {
	text := encode(v)
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(text) // a client that has left gets no answer
	}
}

// hint sets when to ask again, while the job has not ended.
func (c *call) hint() {
	if !c.view.State.Terminal() {
		setRetryAfter(c.w.Header(), pollAfter(&c.view, time.Now()))
	}
}

// wait waits as long as the client prefers, until the job is as wanted, or has ended, or the
// configuration ends. It returns false if it has answered.
func (c *call) wait(wanted func(*jobs.View) bool) bool {
	p := prefer.Of(c.r.Header)
	if !p.Waits || c.view.State.Terminal() || wanted(&c.view) {
		return true
	}
	limit := min(p.Wait, c.options.MaxWait)
	c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(limit/time.Second)))
	leave, ok := c.waits.enter(struct{}{}, c.options.Limits.Waits)
	if !ok {
		c.reject(problem.TooManyReaders)
		return false
	}
	defer leave()
	ctx, cancel := context.WithTimeout(c.r.Context(), limit)
	defer cancel()
	defer context.AfterFunc(c.open, cancel)()
	for ctx.Err() == nil && !c.view.State.Terminal() && !wanted(&c.view) {
		view, err := c.jobs.Wait(ctx, c.id, c.view.Version)
		if err != nil {
			c.fail(err)
			return false
		}
		c.view = view
	}
	return c.r.Context().Err() == nil
}
