package statuspage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/statuspage"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// source is a process that a test describes.
type source struct {
	mu     sync.Mutex
	calls  int
	asked  []string // pools, by the last call
	change func(*admin.Status)
	err    error
	done   []string       // actions
	paths  map[string]any // answers to reads, by path
}

func (s *source) Get(_ context.Context, path string, into any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, _, _ = strings.Cut(path, "?")
	v, ok := s.paths[path]
	if !ok {
		return errors.New("nothing at " + path)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (s *source) Status(_ context.Context, pools []string) (*admin.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.asked = pools
	if s.err != nil {
		return nil, s.err
	}
	status := &admin.Status{At: time.Now()}
	if s.change != nil {
		s.change(status)
	}
	return status, nil
}

func (s *source) Do(_ context.Context, method, path string, body any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _ := json.Marshal(body)
	s.done = append(s.done, method+" "+path+" "+string(text))
	return s.err
}

func (s *source) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *source) collected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// pool is a pool with these numbers.
func pool(name string, running, limit, waiting, places int) admin.PoolStatus {
	var p admin.PoolStatus
	p.Pool.Name, p.Pool.Phase, p.Pool.Breaker = name, "open", "closed"
	p.Pool.Running, p.Pool.Permits, p.Pool.Concurrency = running, limit, limit
	p.Pool.Waiting, p.Pool.QueueLimit = waiting, places
	return p
}

// viewer receives the stream of a page.
type viewer struct {
	mu     sync.Mutex
	header http.Header
	status int
	text   bytes.Buffer
	stuck  chan struct{} // nil, or closed when it reads again

	leave context.CancelFunc
	gone  chan struct{} // closed when the page has ended the stream
}

func (v *viewer) Header() http.Header              { return v.header }
func (v *viewer) WriteHeader(status int)           { v.status = status }
func (v *viewer) FlushError() error                { return nil }
func (v *viewer) SetWriteDeadline(time.Time) error { return nil }
func (v *viewer) Write(p []byte) (int, error) {
	v.mu.Lock()
	stuck := v.stuck
	v.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.text.Write(p)
}

// watch lets a viewer follow a page until it leaves.
func watch(t *testing.T, page *statuspage.Page, query string) *viewer {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	v := &viewer{header: make(http.Header), leave: leave, gone: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://status.test/?events"+query, nil)
	go func() {
		defer close(v.gone)
		if err := page.ServeHTTP(v, r); err != nil {
			t.Error(err)
		}
	}()
	return v
}

// end lets the viewers leave.
func end(viewers ...*viewer) {
	for _, v := range viewers {
		v.leave()
	}
	for _, v := range viewers {
		<-v.gone
	}
}

// part is a piece of a message.
type part struct {
	Kind  string
	Value json.RawMessage
}

// messages are those that the viewer has received.
func (v *viewer) messages(t *testing.T) (all [][]part) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for line := range strings.Lines(v.text.String()) {
		text, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var parts []part
		if err := json.Unmarshal([]byte(text), &parts); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		all = append(all, parts)
	}
	return all
}

// last is the newest part of a kind that the viewer has received, nil without one.
func (v *viewer) last(t *testing.T, kind string) (value json.RawMessage) {
	t.Helper()
	for _, parts := range v.messages(t) {
		for _, p := range parts {
			if p.Kind == kind {
				value = p.Value
			}
		}
	}
	return value
}

// bubble runs a test in which time passes at once.
func bubble(t *testing.T, s *source, test func(t *testing.T, page *statuspage.Page)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.New(statuspage.NewHub(s), statuspage.Options{})
		test(t, page)
		page.Close()
		pass(time.Hour) // the history is forgotten, and no timer is left
	})
}

// pass lets time pass, and everything settle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// get requests the page.
func get(t *testing.T, page *statuspage.Page, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://status.test/"+query, nil)); err != nil {
		t.Fatal(err)
	}
	return w
}
