// Package resource serves jobs to their clients: the state of a job, its result while it is
// produced and afterwards, its events, and the ways to cancel it, to run it again and to
// forget it. docs/jobs-resource.md describes all requests and answers.
package resource

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Resource serves the jobs of a store.
type Resource struct {
	options Options
	open    context.Context // ends with the configuration
	end     context.CancelFunc

	events  counter[string]  // by tenant
	readers counter[jobs.ID] // of results that grow
	waits   counter[struct{}]
}

// New returns a resource. The caller must close it.
func New(o Options) *Resource {
	s := &Resource{options: o}
	s.open, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends event streams, whose clients connect again, and requests that wait, which get
// an answer. Results are sent to their end.
func (s *Resource) Close() { s.end() }

// call is one request.
type call struct {
	*Resource
	w http.ResponseWriter
	r *http.Request

	store Store
	jobs  Jobs
	id    jobs.ID
	// base is the path of all jobs as the client has it, with a slash at its end.
	base string
	view jobs.View // of the job, as it was when the request came, or later
}

// prepare gets the jobs.
func (c *call) prepare() bool {
	c.store = c.options.Store()
	var err error
	if c.jobs, err = c.store.Jobs(); err != nil {
		c.fail(err)
		return false
	}
	return true
}

// find gets the job, if the client may use this part of it. A job of another client is
// answered as one that does not exist.
func (c *call) find(part string) bool {
	view, err := c.jobs.Get(c.r.Context(), c.id)
	may := c.may(view.Route, part, view.Owner)
	if err == nil && !may {
		err = jobs.ErrUnknown
	}
	if err != nil {
		c.fail(err)
		return false
	}
	c.view = view
	h := c.w.Header()
	h.Set("Offload-Job-Id", c.id.String())
	h.Set("Offload-Job-State", view.State.String())
	return true
}

// may reports whether the client is the owner of the job, or has a link that grants this
// part of it. A link that is not valid does not become valid by an identity.
func (c *call) may(route, part string, job [32]byte) bool {
	query := c.r.URL.Query()
	if !query.Has(tokenParam) {
		return owner.May(c.store.Owner(route).Of(c.r), job)
	}
	reads := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	if !reads || c.options.LinkLifetime == 0 {
		return false
	}
	secret, err := c.store.Secret()
	return err == nil && verify(secret, c.id, part, query.Get(tokenParam), time.Now())
}

// fail answers with the problem of an error.
func (c *call) fail(err error) {
	if c.r.Context().Err() == nil { // the client has not left
		c.problem(problem.Of(err))
	}
}

// reject answers with a problem.
func (c *call) reject(t problem.Type) { c.problem(problem.Problem{Type: t}) }

func (c *call) problem(p problem.Problem) {
	p.RetryAfter = max(p.RetryAfter, time.Second)
	p.Write(c.w)
}
