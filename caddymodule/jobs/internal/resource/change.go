package resource

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// byOwner is the value of [jobs.Cancel.By] for clients.
const byOwner = "owner"

// unchanged reports whether the job is as the client knows it, if the client has said so.
// Otherwise it has answered.
func unchanged(c *call) bool {
	known := c.r.Header.Values("If-Match")
	if len(known) == 0 || matches(known, quote(c.view.Version), false) {
		return true
	}
	c.w.Header().Set("ETag", quote(c.view.Version))
	c.reject(problem.Changed)
	return false
}

// deleteJob cancels a job that has not ended, and forgets one that has.
func deleteJob(c *call) {
	if !unchanged(c) {
		return
	}
	if c.view.State.Terminal() {
		if err := c.jobs.Forget(c.r.Context(), c.id); err != nil {
			c.fail(err)
			return
		}
		c.w.WriteHeader(http.StatusNoContent)
		return
	}
	view, err := c.jobs.Cancel(c.r.Context(), c.id, byOwner)
	switch c.view = view; {
	case errors.Is(err, jobs.ErrTerminal): // meanwhile; the client has not asked to forget it
		c.write(http.StatusOK)
	case err != nil:
		c.fail(err)
	case view.State == jobs.Cancelled:
		c.w.WriteHeader(http.StatusNoContent)
	default:
		c.hint()
		c.write(http.StatusAccepted)
	}
}

// cancelJob cancels a job, and never forgets it.
func cancelJob(c *call) {
	if !unchanged(c) {
		return
	}
	view, err := c.jobs.Cancel(c.r.Context(), c.id, byOwner)
	switch ended := errors.Is(err, jobs.ErrTerminal); {
	case err != nil && !ended:
		c.fail(err)
	case ended && view.State != jobs.Cancelled:
		c.problem(problem.Problem{Type: problem.Ended, More: map[string]any{"state": view.State}})
	default:
		c.view = view
		answerChange(c)
	}
}

// answerChange answers with the job after a change: whether it is done, or will be.
func answerChange(c *call) {
	c.hint()
	if c.view.State.Terminal() {
		c.write(http.StatusOK)
	} else {
		c.write(http.StatusAccepted)
	}
}

// retryJob begins another generation of a job that has ended without success.
func retryJob(c *call) {
	if !unchanged(c) {
		return
	}
	if c.view.State == jobs.Succeeded {
		c.problem(problem.Problem{Type: problem.Ended, More: map[string]any{"state": c.view.State}})
		return
	}
	view, err := c.jobs.Retry(c.r.Context(), c.id)
	if err != nil {
		c.fail(err)
		return
	}
	c.view = view
	c.w.Header().Set("Location", c.path(c.id, ""))
	c.hint()
	c.write(http.StatusAccepted)
}

// signedLinks are links that need no other proof of the client's identity.
type signedLinks struct {
	Expires time.Time `json:"expires"`
	Links   struct {
		Self   string `json:"self"`
		Result string `json:"result"`
		Events string `json:"events"`
	} `json:"links"`
}

// signLinks makes signed links, for clients that cannot send their identity: the EventSource and
// the downloads of browsers.
func signLinks(c *call) {
	if c.options.LinkLifetime == 0 {
		c.reject(problem.NoLinks)
		return
	}
	lifetime := c.options.LinkLifetime
	if text := c.r.URL.Query().Get("lifetime"); text != "" {
		wanted, err := time.ParseDuration(text)
		if err != nil || wanted < time.Second {
			c.problem(problem.Problem{Type: problem.BadRequest, Detail: "The parameter 'lifetime' must be a duration of a second or more, such as 30s."})
			return
		}
		lifetime = min(lifetime, wanted)
	}
	if _, err := c.store.Secret(); err != nil {
		c.fail(err)
		return
	}
	until := time.Now().Add(lifetime).Truncate(time.Second)
	answer := signedLinks{Expires: until.UTC()}
	answer.Links.Self = c.path(c.id, "") + signed(c, "", until)
	answer.Links.Result = c.path(c.id, "result") + signed(c, "result", until)
	answer.Links.Events = c.path(c.id, "events") + signed(c, "events", until)
	c.writeJSON(http.StatusOK, answer)
}

// signed returns the query of a signed link.
func signed(c *call, part string, until time.Time) string {
	secret, err := c.store.Secret()
	if err != nil {
		return ""
	}
	return "?" + strings.Join([]string{tokenParam, grant{id: c.id, scope: part, until: until}.sign(secret)}, "=")
}
