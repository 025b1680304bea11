package jobadmin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobadmin"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// operator uses the part of the admin endpoint for a store in memory. Each answer must have
// the documented form.
type operator struct {
	t       *testing.T
	service *jobs.Service
	doc     *openapi3.T
}

func operate(t *testing.T) *operator {
	t.Helper()
	lease, err := store.Take(t.Context(), store.Opening{
		Folder:  t.Name(),
		Engine:  func(context.Context) (jobs.Engine, error) { return memory.Open(memory.Options{}), nil },
		Options: jobs.Options{Limits: jobs.DefaultLimits()},
		Close:   func(s *store.Store) { _ = s.Close(context.Background()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	store.Rule(lease.Value())
	t.Cleanup(func() {
		lease.End()
		store.Wait(context.Background())
	})
	service, err := lease.Value().Service()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromFile("../../../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return &operator{t, service, doc}
}

// accept stores a job of a route that nothing runs.
func (o *operator) accept(route string) jobs.ID {
	o.t.Helper()
	a, err := o.service.Accept(o.t.Context(), jobs.Submission{
		Route: route, Tenant: "one",
		Request: jobs.Request{
			Method: http.MethodPost, URI: "/report/7?token=secret", Host: "example.com", Scheme: "https", Remote: "192.0.2.7:4711",
			Header: []jobs.Field{{Name: "Authorization", Value: "secret"}, {Name: "Content-Type", Value: "text/plain"}},
		},
		Policy: jobs.Policy{MaxAttempts: 3, Keep: time.Hour, KeepDead: time.Hour},
		Hook:   &jobs.Hook{URL: "https://user:secret@hooks.example/done?key=secret", Secret: "first"},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return a.View.ID
}

// do makes a request with the template of its path. Its answer must be the documented one.
func (o *operator) do(method, template, rest string, into any) {
	o.t.Helper()
	path := strings.TrimPrefix(template, adminroute.Prefix)
	if strings.Contains(path, "{id}") {
		path, rest = strings.Replace(path, "{id}", rest, 1), ""
	}
	text, err := adminroute.Do(o.t.Context(), jobadmin.Serve, method, path+rest, nil)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	if strings.Contains(string(text), "secret") {
		o.t.Errorf("%s %s: it shows a secret: %s", method, path, text)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		o.t.Fatal(err)
	}
	operation := o.doc.Paths.Find(template).GetOperation(method)
	schema := operation.Responses.Status(http.StatusOK).Value.Content.Get("application/json").Schema.Value
	if err := schema.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		o.t.Errorf("%s %s: the answer %s is not as the document says: %v", method, path, text, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		o.t.Fatal(err)
	}
}

// fails makes a request that must fail with a status.
func (o *operator) fails(method, path string, status int) {
	o.t.Helper()
	_, err := adminroute.Do(o.t.Context(), jobadmin.Serve, method, path, nil)
	if rejected, ok := errors.AsType[caddy.APIError](err); !ok || rejected.HTTPStatus != status {
		o.t.Errorf("%s %s: got %v, want %d", method, path, err, status)
	}
}

// An operator cancels a job, runs it again, and removes it.
func TestLifeOfAJobByAnOperator(t *testing.T) {
	o := operate(t)
	id := o.accept("reports").String()
	var job jobview.Job
	o.do(http.MethodGet, "/offload/jobs/{id}", id, &job)
	if job.State != "queued" || job.WaitingFor != "route" || job.Request.Path != "/report/7" || job.Request.ContentType != "text/plain" {
		t.Errorf("got %+v", job)
	}
	o.fails(http.MethodDelete, "jobs/"+id, http.StatusConflict)
	o.fails(http.MethodPost, "jobs/"+id+"/retry", http.StatusConflict)
	o.do(http.MethodPost, "/offload/jobs/{id}/cancel", id, &job)
	if job.State != "cancelled" || job.Cancelled == nil || job.Cancelled.By != "operator" {
		t.Errorf("got %+v", job)
	}
	o.fails(http.MethodPost, "jobs/"+id+"/cancel", http.StatusConflict)
	job = jobview.Job{}
	o.do(http.MethodPost, "/offload/jobs/{id}/retry", id, &job)
	if job.State != "queued" || job.Generation != 2 {
		t.Errorf("got %+v", job)
	}
	o.do(http.MethodPost, "/offload/jobs/{id}/cancel", id, &job)
	o.do(http.MethodDelete, "/offload/jobs/{id}", id, &job)
	o.fails(http.MethodGet, "jobs/"+id, http.StatusNotFound)
}

// A list has the newest jobs first, and goes on at its cursor.
func TestPagesOfJobs(t *testing.T) {
	o := operate(t)
	var want []string
	for i := range 5 {
		want = append(want, o.accept(fmt.Sprint("route", i%2)).String())
	}
	slices.Sort(want) // within a millisecond IDs have no order of their creation
	slices.Reverse(want)
	var got []string
	next := ""
	for {
		var list jobview.List
		o.do(http.MethodGet, "/offload/jobs", "?limit=2&state=queued&state=dead"+next, &list)
		for _, job := range list.Jobs {
			got = append(got, job.ID)
		}
		if list.Next == "" {
			break
		}
		next = "&after=" + list.Next
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var list jobview.List
	o.do(http.MethodGet, "/offload/jobs", "?route=route1", &list)
	if len(list.Jobs) != 2 || list.Next != "" {
		t.Errorf("got %+v", list)
	}
	o.do(http.MethodGet, "/offload/jobs", "?state=dead&tenant=one", &list)
	if len(list.Jobs) != 0 {
		t.Errorf("got %+v", list)
	}
	for _, bad := range []string{"state=late", "state=streaming", "limit=0", "limit=1001", "after=1"} {
		o.fails(http.MethodGet, "jobs?"+bad, http.StatusBadRequest)
	}
}

func TestUsageOfJobs(t *testing.T) {
	o := operate(t)
	o.accept("reports")
	var s jobview.Summary
	o.do(http.MethodGet, "/offload/jobs/usage", "", &s)
	if len(s.Routes) != 1 || s.Routes[0].Name != "reports" || s.Routes[0].Queued != 1 || s.Routes[0].Bound || s.States["queued"] != 1 {
		t.Errorf("got %+v", s)
	}
}

// Without a store there is nothing to show, and an error says why.
func TestWithoutJobs(t *testing.T) {
	store.Rule(nil)
	o := &operator{t: t}
	if jobadmin.Present() {
		t.Error("there are jobs")
	}
	o.fails(http.MethodGet, "jobs", http.StatusNotFound)
	o.fails(http.MethodGet, "jobs/usage", http.StatusNotFound)
	o.fails(http.MethodGet, "jobs/one/two/three", http.StatusNotFound)
	o.fails(http.MethodPut, "jobs", http.StatusMethodNotAllowed)
}
