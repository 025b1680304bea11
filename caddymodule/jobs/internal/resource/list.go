package resource

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Lengths of pages.
const (
	usualPage   = 50
	longestPage = 200
)

// page is a part of a list as JSON.
type page struct {
	Jobs []document `json:"jobs"`
	Next string     `json:"next,omitempty"`
}

// listJobs answers with the jobs of the client, by the identity that counts for the route it
// asks for. Jobs without an owner are in no list: their URLs are the only proof of the right to
// use them.
func listJobs(c *call) {
	var q jobs.Query
	if !readQuery(c, &q) {
		return
	}
	q.Owner = c.store.Owner(q.Route).Of(c.r)
	if q.Owner == ([32]byte{}) {
		c.reject(problem.NoIdentity)
		return
	}
	got, err := c.jobs.List(c.r.Context(), q)
	if err != nil {
		c.fail(err)
		return
	}
	answer := page{Jobs: make([]document, len(got.Views))}
	for i := range got.Views {
		answer.Jobs[i] = c.document(&got.Views[i])
	}
	if got.More && len(got.Views) > 0 {
		answer.Next = pageAfter(c, got.Views[len(got.Views)-1].ID)
		c.w.Header().Set("Link", "<"+answer.Next+`>; rel="next"`)
	}
	c.writeJSON(http.StatusOK, answer)
}

// pageAfter returns the path of the page behind a job.
func pageAfter(c *call, id jobs.ID) string {
	next := c.r.URL.Query()
	next.Set("cursor", id.String())
	return c.base + "?" + next.Encode()
}

// readQuery reads the parameters of the list. It returns false if it has answered.
func readQuery(c *call, q *jobs.Query) bool {
	params := c.r.URL.Query()
	err := readStates(params, q)
	q.Route = params.Get("route")
	if text := params.Get("cursor"); err == nil && text != "" {
		q.Before, err = jobs.ParseID(text)
	}
	if q.Limit = usualPage; err == nil && params.Get("limit") != "" {
		q.Limit, err = strconv.Atoi(params.Get("limit"))
		q.Limit = min(q.Limit, longestPage)
	}
	if err != nil || q.Limit < 1 {
		c.problem(problem.Problem{Type: problem.BadRequest, Detail: "The parameters are: 'state' with the name of a state, any number of times; 'route'; 'limit' from 1 to 200; 'cursor' as the page before has it."})
		return false
	}
	return true
}

func readStates(params url.Values, q *jobs.Query) error {
	for _, name := range params["state"] {
		state, err := jobs.ParseState(name)
		if err != nil {
			return err
		}
		q.States = append(q.States, state)
	}
	return nil
}
