package endpoint_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/endpoint"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/internal/testkit/adapttest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func init() { endpoint.Register(new(progress.Board)) }

func TestAdapt(t *testing.T) { adapttest.Run(t) }

// shop is a site with jobs, and the store that they are in.
type shop struct {
	*site.Site
	service *jobs.Service
	folder  string
}

// open serves a site with a store in memory.
func open(t *testing.T, body string) *shop {
	t.Helper()
	s := &shop{folder: t.TempDir()}
	lease, err := store.Take(t.Context(), store.Opening{
		Folder: s.folder,
		Engine: func(context.Context) (jobs.Engine, error) { return memory.Open(memory.Options{}), nil },
		Close: func(s *store.Store) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // attempts of a test that has failed do not go on
			_ = s.Close(ctx)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	store.Rule(lease.Value())
	t.Cleanup(func() {
		store.Rule(nil)
		lease.End()
		store.Wait(context.Background())
	})
	if s.service, err = lease.Value().Service(); err != nil {
		t.Fatal(err)
	}
	s.Site = site.Serve(t, nil, body)
	return s
}

// accept accepts a job of a route.
func (s *shop) accept(t *testing.T, route string, change ...func(*jobs.Submission)) jobs.ID {
	t.Helper()
	sub := jobs.Submission{
		Route: route, Tenant: "ann", Request: jobs.Request{Method: http.MethodPost, URI: "/report"},
		Policy: jobs.Policy{MaxAttempts: 1, Keep: 1 << 40, KeepDead: 1 << 40},
	}
	for _, f := range change {
		f(&sub)
	}
	got, err := s.service.Accept(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	return got.View.ID
}

// work is an executor of the test.
type work func(a *jobs.Attempt) jobs.Verdict

func (f work) Execute(_ context.Context, offer *jobs.Offer) jobs.Verdict {
	a, err := offer.Start()
	if err != nil {
		return jobs.Verdict{}
	}
	return f(a)
}
