package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobpage"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
)

// Source provides the numbers of the page and performs its actions: in this process, or in
// another one through its admin endpoint.
type Source interface {
	// Status returns the numbers now, with the requests of the named pools.
	Status(ctx context.Context, pools []string) (*admin.Status, error)
	// Get reads a path of the admin endpoint below /offload/ into a value.
	Get(ctx context.Context, path string, into any) error
	// Do performs a request to a path of the admin endpoint below /offload/.
	Do(ctx context.Context, method, path string, body any) error
}

// Local returns the source that is this process.
func Local(p *state.Process) Source { return local{p} }

type local struct{ process *state.Process }

func (l local) Status(_ context.Context, pools []string) (*admin.Status, error) {
	return admin.StatusOf(l.process, pools), nil
}

func (l local) Do(ctx context.Context, method, path string, body any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
	}
	_, err := admin.AdminAPI{Process: l.process}.Do(ctx, method, path, text)
	return err
}

func (l local) Get(ctx context.Context, path string, into any) error {
	text, err := admin.AdminAPI{Process: l.process}.Do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// statusOf returns the status code for the error of an action. An error without a status
// means that the server did not answer.
func statusOf(err error) int {
	if rejected, ok := errors.AsType[caddy.APIError](err); ok {
		return rejected.HTTPStatus
	}
	return http.StatusBadGateway
}

// textOf returns the text for the error of an action.
func textOf(err error) string {
	if rejected, ok := errors.AsType[caddy.APIError](err); ok && rejected.Err != nil {
		return rejected.Err.Error()
	}
	return err.Error()
}

// view is what a viewer looks at: all pools, one of them, or jobs.
type view struct {
	pool string // its name
	jobs bool   // see ofJobs
	// ofJobs is which jobs it shows.
	ofJobs jobpage.View
}

func viewOf(query url.Values) view {
	if ofJobs, ok := jobpage.ViewOf(query); ok {
		return view{jobs: true, ofJobs: ofJobs}
	}
	return view{pool: query.Get("pool")}
}

// Action is one action of an operator.
type Action struct {
	Token string `json:"token"`
	// Name is pause, resume, drain, breaker, set, reset or cancel, or of a job retry or
	// cancel-job.
	Name string `json:"action"`
	Pool string `json:"pool"`
	// State is the state that the action "breaker" sets: open, closed or auto.
	State string `json:"state"`
	// Setting and Value are what "set" sets. An empty value ends the override.
	Setting string `json:"setting"`
	Value   string `json:"value"`
	// ID is the request that "cancel" cancels, or the job.
	ID string `json:"id"`
}

// String describes the action, as in "breaker open".
func (a Action) String() string {
	switch a.Name {
	case "breaker":
		return "breaker " + a.State
	case "set":
		return "set " + a.Setting + "=" + a.Value
	case "cancel", "retry", "cancel-job":
		return a.Name + " " + a.ID[:min(len(a.ID), shownID)] // a whole one may give access to a job
	}
	return a.Name
}

// shownID is how much of an ID is logged: all of a request's, and the time of a job's.
const shownID = 14
