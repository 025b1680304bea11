package jobs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestMain(m *testing.M) { site.Main(m) }

// upstream answers each request when the test lets it, and records what came.
type upstream struct {
	mu     sync.Mutex
	came   []*http.Request // guarded by mu, as bodies
	bodies []string
	now    int           // requests inside, guarded by mu
	gate   chan struct{} // a value lets a request to /slow answer
	answer func(w http.ResponseWriter, r *http.Request)
}

func newUpstream() *upstream { return &upstream{gate: make(chan struct{}, 1000)} }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	u.mu.Lock()
	u.came, u.bodies = append(u.came, r.Clone(r.Context())), append(u.bodies, string(body))
	n := len(u.came)
	u.now++
	u.mu.Unlock()
	defer u.leave()
	if r.URL.Path == "/slow" {
		select {
		case <-u.gate:
		case <-r.Context().Done():
			return
		}
	}
	if u.answer != nil {
		u.answer(w, r)
		return
	}
	w.Header().Set("X-Run", fmt.Sprint(n))
	w.Header().Set("Set-Cookie", "a=b")
	_, _ = fmt.Fprintf(w, "answer %d to %s", n, body)
}

func (u *upstream) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now--
}

// inside waits until so many requests are inside: one whose connection has ended stays for a
// moment, and could take a value of the gate from another one.
func (u *upstream) inside(t *testing.T, want int) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.now == want
	})
}

// runs returns the number of requests that came.
func (u *upstream) runs() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.came)
}

func (u *upstream) request(n int) *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.came[n]
}

// route returns a site with jobs that have these options.
func route(options ...string) string {
	return "offload {\n\t\tname api\n\t\tconcurrency 4\n\t\tqueue 100\n\t\ton_abandon cancel\n\t\tjobs {\n\t\t\t" + strings.Join(options, "\n\t\t\t") +
		"\n\t\t\thandle {\n\t\t\t\treverse_proxy UPSTREAM\n\t\t\t}\n\t\t}\n\t}"
}

// client sends requests to a site in the clear.
type client struct {
	t   *testing.T
	url string
}

func clientOf(t *testing.T, s *site.Site) client { return client{t, "http://" + s.Clear} }

// send sends a request with a body and fields.
func (c client) send(method, path, body string, fields ...string) (*http.Response, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return site.Do(c.t, http.DefaultClient, r)
}

// post sends a POST with the preference of a client.
func (c client) post(path, preference string, fields ...string) (*http.Response, string) {
	c.t.Helper()
	return c.send(http.MethodPost, path, "body", append(fields, "Prefer", preference)...)
}

// job returns the job of an answer with one.
func job(t *testing.T, res *http.Response, body string) jobs.ID {
	t.Helper()
	var doc struct {
		ID    jobs.ID           `json:"id"`
		State jobs.State        `json:"state"`
		Links map[string]string `json:"links"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("no job: %s %v %s", res.Status, err, body)
	}
	path := "/.jobs/" + doc.ID.String()
	if res.Header.Get("Location") != path || doc.Links["self"] != path || res.Header.Get("Cache-Control") != "no-store" ||
		res.Header.Get("Retry-After") == "" || res.Header.Get("Link") == "" {
		t.Errorf("incomplete: %v %s", res.Header, body)
	}
	return doc.ID
}

func service(t *testing.T) *jobs.Service {
	t.Helper()
	s, err := store.Current().Service()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ended waits until a job has ended.
func ended(t *testing.T, id jobs.ID) jobs.View {
	t.Helper()
	var view jobs.View
	testkit.Eventually(t, func() (over bool) {
		s, err := store.Current().Service()
		if err == nil {
			view, err = s.Get(t.Context(), id)
		}
		return err == nil && view.State.Terminal()
	})
	return view
}

// result returns the stored result of a job.
func result(t *testing.T, id jobs.ID) string {
	t.Helper()
	r, err := service(t).Result(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all strings.Builder
	buf := make([]byte, 1000)
	for {
		n, err := r.ReadAt(t.Context(), buf, int64(all.Len()))
		all.Write(buf[:n])
		if err == io.EOF {
			return all.String()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// isProblem checks the form and the reason of a rejection.
func isProblem(t *testing.T, res *http.Response, body string, status int, reason string) {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(body), &doc); err != nil || res.StatusCode != status ||
		res.Header.Get("Content-Type") != "application/problem+json" || doc["type"] != "urn:caddy-offload:jobs:"+reason || doc["status"] != float64(status) {
		t.Errorf("want %d %s, got %s %v: %s", status, reason, res.Status, err, body)
	}
}

// short is a wait that is over soon, long one that no test reaches.
const (
	short = "wait 50ms"
	long  = "wait 50s"
)
