package jobadmin

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Bounds of the pages of a list.
const (
	usualLimit = 50
	maxLimit   = 1000
)

// call is one request.
type call struct{ adminroute.Call }

// service returns the service of the present store.
func (c *call) service() (*jobs.Service, error) {
	s := store.Current()
	if s == nil {
		return nil, adminroute.Failed(http.StatusNotFound, "there are no jobs: the configuration has no route with jobs")
	}
	service, err := s.Service()
	if err != nil {
		return nil, failure(err)
	}
	return service, nil
}

// onJob calls f with the job in the path, and answers with the job that f returns.
func (c *call) onJob(f func(context.Context, *jobs.Service, jobs.ID) (jobs.View, error)) error {
	service, err := c.service()
	if err != nil {
		return err
	}
	id, err := jobs.ParseID(c.Name)
	if err != nil {
		return adminroute.Failed(http.StatusNotFound, "no job '%s': that is not the id of a job", c.Name)
	}
	v, err := f(c.R.Context(), service, id)
	if err != nil {
		return failure(err)
	}
	return c.Answer(http.StatusOK, view(&v))
}

// failure returns the answer for an error of a service.
func failure(err error) error {
	for known, status := range map[error]int{
		jobs.ErrUnknown:     http.StatusNotFound,
		jobs.ErrTerminal:    http.StatusConflict,
		jobs.ErrNotTerminal: http.StatusConflict,
		jobs.ErrStale:       http.StatusConflict,
	} {
		if errors.Is(err, known) {
			return adminroute.Failed(status, "%w", err)
		}
	}
	return adminroute.Failed(http.StatusServiceUnavailable, "%w", err)
}

func listJobs(c *call) error {
	service, err := c.service()
	if err != nil {
		return err
	}
	q, err := c.query()
	if err != nil {
		return err
	}
	page, err := service.List(c.R.Context(), q)
	if err != nil {
		return failure(err)
	}
	list := jobview.List{Jobs: make([]jobview.Job, len(page.Views))}
	for i := range page.Views {
		list.Jobs[i] = view(&page.Views[i])
	}
	if n := len(list.Jobs); page.More && n > 0 {
		list.Next = list.Jobs[n-1].ID
	}
	return c.Answer(http.StatusOK, list)
}

// query reads the filters of a list.
func (c *call) query() (q jobs.Query, err error) {
	values := c.R.URL.Query()
	q = jobs.Query{Route: values.Get("route"), Tenant: values.Get("tenant"), Limit: usualLimit}
	for _, name := range values["state"] {
		state, err := jobs.ParseState(name)
		switch {
		case err != nil:
			return q, adminroute.Failed(http.StatusBadRequest, "%w", err)
		case state == jobs.Streaming:
			return q, adminroute.Failed(http.StatusBadRequest, "bad state 'streaming': 'running' lists such jobs too")
		}
		q.States = append(q.States, state)
	}
	if text := values.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > maxLimit {
			return q, adminroute.Failed(http.StatusBadRequest, "bad limit value '%s': want a whole number from 1 to %d", text, maxLimit)
		}
	}
	if text := values.Get("after"); text != "" {
		if q.Before, err = jobs.ParseID(text); err != nil {
			return q, adminroute.Failed(http.StatusBadRequest, "bad after value '%s': want the value of 'next' in the page before", text)
		}
	}
	return q, nil
}
