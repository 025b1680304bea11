// Package jobprogress lets a handler report how far the run of a job is. Handlers that do not
// know whether there is a job report too: without one, a report does nothing.
package jobprogress

import (
	"context"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

type key struct{}

// With returns a context for the handlers of a job. report may be called from any goroutine, and
// after the run.
func With(ctx context.Context, report func(jobs.Progress)) context.Context {
	return context.WithValue(ctx, key{}, report)
}

// Report reports how far the run is whose handlers have this context.
func Report(ctx context.Context, p jobs.Progress) {
	if report, ok := ctx.Value(key{}).(func(jobs.Progress)); ok {
		report(p)
	}
}
