package resource

import (
	"context"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Jobs are the jobs of a store, as [jobs.Service] has them.
type Jobs interface {
	Get(ctx context.Context, id jobs.ID) (jobs.View, error)
	List(ctx context.Context, q jobs.Query) (jobs.ViewPage, error)
	Wait(ctx context.Context, id jobs.ID, version string) (jobs.View, error)
	Watch(id jobs.ID) (wake <-chan struct{}, stop func())
	Result(ctx context.Context, id jobs.ID) (jobs.Reader, error)
	Cancel(ctx context.Context, id jobs.ID, by string) (jobs.View, error)
	Retry(ctx context.Context, id jobs.ID) (jobs.View, error)
	Forget(ctx context.Context, id jobs.ID) error
}

// Store has jobs, and the rules for their owners.
type Store interface {
	// Jobs returns the jobs, or why they cannot be used.
	Jobs() (Jobs, error)
	// Owner returns the rule for the owners of the jobs of a route. An empty name is that of
	// no route.
	Owner(route string) owner.Rule
	// Secret returns the key of signed links.
	Secret() ([]byte, error)
}

// Options of a resource.
type Options struct {
	// Store returns the store whose jobs are served.
	Store func() Store
	// List: clients can list their jobs.
	List bool
	// Redirect: the state of a job that has a complete response redirects to the result.
	Redirect bool
	// MaxWait is the longest time that a request waits for a change.
	MaxWait time.Duration
	// LinkLifetime is how long signed links are valid at most. Zero: there are none.
	LinkLifetime time.Duration
	// Reports takes the reports of upstreams about attempts.
	Reports *progress.Board
	Limits  Limits
}

// Limits bound the requests that take long.
type Limits struct {
	// Events is the number of event streams of a tenant, Readers that of the requests that
	// follow the result of a job, Waits that of all requests that wait for a change.
	Events, Readers, Waits int
}

// Defaults of options.
const (
	DefaultMaxWait      = time.Minute
	DefaultLinkLifetime = 5 * time.Minute
	DefaultEvents       = 64
	DefaultReaders      = 16
	DefaultWaits        = 1000
)
