package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// fake has jobs that the test changes.
type fake struct {
	mu      sync.Mutex
	jobs    map[jobs.ID]*fakeJob // guarded by mu, also its values
	changed chan struct{}        // closed and replaced with each change; guarded by mu
	err     error                // of all methods, if it is set
	cancels func(*fakeJob)       // how a running job reacts
}

// fakeJob is a job with the result of its last attempt.
type fakeJob struct {
	jobs.View
	rev      int
	data     []byte
	complete bool
	dead     bool // the attempt has ended without its complete response
}

func newFake() *fake {
	return &fake{jobs: make(map[jobs.ID]*fakeJob), changed: make(chan struct{}), cancels: func(*fakeJob) {}}
}

// add adds a job in a state.
func (f *fake) add(state jobs.State, more ...func(*fakeJob)) jobs.ID {
	id := jobs.NewID(time.Now())
	f.mu.Lock()
	f.jobs[id] = &fakeJob{View: jobs.View{Record: jobs.Record{
		ID: id, Route: "reports", Tenant: "ann", Generation: 1, Created: time.Now(), State: state,
		Request: jobs.Request{Method: "POST"},
	}}}
	f.mu.Unlock()
	f.change(id, more...)
	return id
}

// change changes a job, and wakes those that watch it.
func (f *fake) change(id jobs.ID, changes ...func(*fakeJob)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id]
	for _, change := range changes {
		change(j)
	}
	j.rev++
	j.Version = fmt.Sprintf("%d-%d", j.Generation, j.rev)
	j.Bytes = int64(len(j.data))
	close(f.changed)
	f.changed = make(chan struct{})
}

func to(state jobs.State) func(*fakeJob) { return func(j *fakeJob) { j.State = state } }

// responds begins a response.
func responds(status int, fields ...jobs.Field) func(*fakeJob) {
	return func(j *fakeJob) {
		j.State, j.Attempt = jobs.Streaming, max(j.Attempt, 1)
		j.Response = &jobs.Response{Status: status, Header: fields}
	}
}

func writes(text string) func(*fakeJob) {
	return func(j *fakeJob) { j.data = append(j.data, text...) }
}

// ends completes the response.
func ends(j *fakeJob) {
	j.State, j.complete, j.Ended = jobs.Succeeded, true, time.Now()
	j.Response.Complete, j.Response.Size = true, int64(len(j.data))
}

// dies ends the attempt without a complete response.
func dies(j *fakeJob) { j.dead, j.State, j.Response = true, jobs.RetryWait, nil }

func (f *fake) get(id jobs.ID) (fakeJob, chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id]
	if f.err != nil {
		return fakeJob{}, nil, f.err
	}
	if j == nil {
		return fakeJob{}, nil, jobs.ErrUnknown
	}
	return *j, f.changed, nil
}

func (f *fake) Get(_ context.Context, id jobs.ID) (jobs.View, error) {
	j, _, err := f.get(id)
	return j.View, err
}

func (f *fake) Wait(ctx context.Context, id jobs.ID, version string) (jobs.View, error) {
	for {
		j, changed, err := f.get(id)
		if err != nil || j.Version != version || j.State.Terminal() {
			return j.View, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return j.View, nil
		}
	}
}

func (f *fake) Watch(id jobs.ID) (wake <-chan struct{}, stop func()) {
	c, ctx := make(chan struct{}, 1), context.Background()
	ctx, cancel := context.WithCancel(ctx)
	_, changed, err := f.get(id)
	go func() {
		for err == nil {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			_, changed, err = f.get(id) // before the wake-up, so that no change after it is missed
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	return c, cancel
}

func (f *fake) List(_ context.Context, q jobs.Query) (jobs.ViewPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(f.jobs), func(a, b jobs.ID) int { return strings.Compare(b.String(), a.String()) })
	var page jobs.ViewPage
	for _, id := range ids {
		j := f.jobs[id]
		switch {
		case j.Owner != q.Owner, len(q.States) > 0 && !slices.Contains(q.States, j.State), q.Route != "" && q.Route != j.Route:
		case !q.Before.IsZero() && id.String() >= q.Before.String():
		case len(page.Views) == q.Limit:
			page.More = true
		default:
			page.Views = append(page.Views, j.View)
		}
	}
	return page, f.err
}

func (f *fake) Cancel(ctx context.Context, id jobs.ID, by string) (jobs.View, error) {
	j, _, err := f.get(id)
	if err != nil {
		return j.View, err
	}
	if j.State.Terminal() {
		return j.View, jobs.ErrTerminal
	}
	f.change(id, func(j *fakeJob) {
		j.Cancel = &jobs.Cancel{At: time.Now(), By: by}
		if j.State == jobs.Queued || j.State == jobs.RetryWait {
			j.State = jobs.Cancelled
			return
		}
		f.cancels(j)
	})
	view, err := f.Get(ctx, id)
	if err == nil && view.State == jobs.Succeeded {
		err = jobs.ErrTerminal
	}
	return view, err
}

func (f *fake) Retry(ctx context.Context, id jobs.ID) (jobs.View, error) {
	j, _, err := f.get(id)
	if err == nil && !j.State.Terminal() {
		err = jobs.ErrNotTerminal
	}
	if err != nil {
		return j.View, err
	}
	f.change(id, func(j *fakeJob) {
		j.Generation, j.Attempt, j.State, j.Response, j.data, j.complete = j.Generation+1, 0, jobs.Queued, nil, nil, false
	})
	return f.Get(ctx, id)
}

func (f *fake) Forget(_ context.Context, id jobs.ID) error {
	_, _, err := f.get(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.jobs, id)
	close(f.changed)
	f.changed = make(chan struct{})
	return err
}

func (f *fake) Result(_ context.Context, id jobs.ID) (jobs.Reader, error) {
	j, _, err := f.get(id)
	if err == nil && j.State.Terminal() && !j.complete {
		err = jobs.ErrNoResult
	}
	return &fakeReader{f: f, id: id, generation: j.Generation, attempt: j.Attempt}, err
}

// fakeReader reads the result of a job.
type fakeReader struct {
	f                   *fake
	id                  jobs.ID
	generation, attempt int
}

func (r *fakeReader) Close() error { return nil }

func (r *fakeReader) Attempt() (generation, number int) { return r.generation, r.attempt }

func (r *fakeReader) Head(ctx context.Context) (*jobs.Response, error) {
	for {
		j, changed, err := r.f.get(r.id)
		if err != nil || j.dead {
			return nil, jobs.ErrNoResult
		}
		if j.Response != nil {
			return j.Response, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *fakeReader) Size() (n int64, complete bool) {
	j, _, _ := r.f.get(r.id)
	return int64(len(j.data)), j.complete
}

func (r *fakeReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		j, changed, err := r.f.get(r.id)
		switch {
		case err != nil:
			return 0, err
		case j.dead || j.Attempt != r.attempt:
			return 0, io.ErrUnexpectedEOF
		case off < int64(len(j.data)):
			return copy(p, j.data[off:]), nil
		case j.complete:
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// owners are the rules of the routes that have one.
var owners = map[string]owner.Rule{"named": owner.New("{http.request.header.X-User}")}

// fakeStore has the fake's jobs.
type fakeStore struct{ f *fake }

func (s fakeStore) Jobs() (Jobs, error)          { return s.f, nil }
func (s fakeStore) Owner(r string) owner.Rule    { return owners[r] }
func (s fakeStore) Secret() ([]byte, error)      { return []byte("secret of the test"), nil }
func ownedBy(identity [32]byte) func(j *fakeJob) { return func(j *fakeJob) { j.Owner = identity } }
func usual() Options {
	return Options{MaxWait: DefaultMaxWait, LinkLifetime: DefaultLinkLifetime, Reports: new(progress.Board), Limits: Limits{Events: 64, Readers: 16, Waits: 1000}}
}
func (s fakeStore) handler(o Options) *testSite { return newSite(s, o) }

// testSite serves a resource at /jobs/, to recorders and over connections.
type testSite struct {
	*Resource
	*fake
}

func newSite(s fakeStore, o Options) *testSite {
	o.Store = func() Store { return s }
	return &testSite{Resource: New(o), fake: s.f}
}

// readersOf returns how many clients read the result of a job.
func (s *testSite) readersOf(id jobs.ID) int {
	s.readers.mu.Lock()
	defer s.readers.mu.Unlock()
	return s.readers.n[id]
}

func site(t *testing.T, change ...func(*Options)) *testSite {
	t.Helper()
	o := usual()
	for _, f := range change {
		f(&o)
	}
	s := fakeStore{f: newFake()}.handler(o)
	t.Cleanup(s.Close)
	return s
}

func (s *testSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	s.Serve(w, r, r.URL.Path)
}

// do sends a request with fields to a recorder.
func (s *testSite) do(t *testing.T, method, path string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// identity returns the owner of the jobs of a client with that field Authorization.
func identity(t *testing.T, authorization string) [32]byte {
	t.Helper()
	return identityBy(t, owner.Rule{}, "Authorization", authorization)
}

// identityBy returns the owner, by a rule, of the jobs of a client with a field.
func identityBy(t *testing.T, rule owner.Rule, name, value string) [32]byte {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set(name, value)
	return rule.Of(caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil))
}

// object reads JSON.
func object(t *testing.T, text []byte) (o map[string]any) {
	t.Helper()
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

func jobPath(id jobs.ID, part string) string {
	if part != "" {
		part = "/" + part
	}
	return "/jobs/" + id.String() + part
}

// mustBe checks the status and, if it is not empty, the reason of a problem.
func mustBe(t *testing.T, w *httptest.ResponseRecorder, status int, reason string) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if reason == "" {
		return
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if got := object(t, w.Body.Bytes())["reason"]; got != reason {
		t.Errorf("reason %v, want %s", got, reason)
	}
}
