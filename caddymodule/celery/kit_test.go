package celery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

func TestMain(m *testing.M) {
	celeryhandler.RegisterServer("memory", func(name string) (celeryhandler.Server, error) {
		labs.Lock()
		defer labs.Unlock()
		l := labs.byName[name]
		if l == nil {
			return nil, errors.New("there is no such lab")
		}
		l.opened.Add(1)
		return server{l.Memory, l}, nil
	})
	site.Main(m)
}

// labs by the name that stands in URLs of "memory://".
var labs struct {
	sync.Mutex
	byName map[string]*lab
}

// lab is Celery in memory: servers, and workers that a test plays.
type lab struct {
	*celerytest.Memory
	t      *testing.T
	name   string
	ctx    context.Context
	busy   sync.WaitGroup
	opened atomic.Int64
	closed atomic.Int64

	mu       sync.Mutex
	commands []celery.Command // that workers have got
}

// server is the broker and backend of the handler. It can be opened again after it was closed.
type server struct {
	*celerytest.Memory
	lab *lab
}

func (s server) Close() error {
	s.lab.closed.Add(1)
	return nil
}

// newLab returns one without workers. It is "memory://<test's name>".
func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabNamed(t, strings.ReplaceAll(strings.ReplaceAll(t.Name(), "/", "."), " ", "_"))
}

func newLabNamed(t *testing.T, name string) *lab {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &lab{Memory: celerytest.NewMemory(), t: t, name: name, ctx: ctx}
	labs.Lock()
	defer labs.Unlock()
	if labs.byName == nil {
		labs.byName = make(map[string]*lab)
	}
	labs.byName[l.name] = l
	t.Cleanup(func() {
		cancel()
		l.busy.Wait()
		labs.Lock()
		defer labs.Unlock()
		delete(labs.byName, l.name)
	})
	return l
}

// work starts slots of a worker, which play tasks from the default queue.
func (l *lab) work(slots int, play func(*celery.Message) [][]byte) {
	l.t.Helper()
	names := `["lab.echo", "lab.add", "lab.slow"]`
	l.worker(func(c celery.Command) string {
		switch c.Method {
		case "ping":
			return `{"ok": "pong"}`
		case "stats":
			return fmt.Sprintf(`{"pool": {"max-concurrency": %d}}`, slots)
		case "registered":
			return names
		case "active_queues":
			return `[{"name": "celery", "routing_key": "celery"}, {"name": "slow", "routing_key": "slow"}]`
		}
		return ""
	})
	for range slots {
		l.busy.Go(func() { _ = celerytest.Work(l.ctx, l.Memory, "celery", play) })
	}
}

// worker takes commands, and notes those that want no answer.
func (l *lab) worker(answer func(celery.Command) string) {
	l.t.Helper()
	l.busy.Go(func() {
		_ = l.Commands(l.ctx, "w1@lab", func(c celery.Command) []byte {
			text := answer(c)
			if text == "" {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.commands = append(l.commands, c)
				return nil
			}
			return fmt.Appendf(nil, `{"w1@lab": %s}`, text)
		})
	})
	workers := celery.NewWorkers(l.Memory)
	testkit.Eventually(l.t, func() bool {
		names, err := workers.Ping(l.ctx)
		return err == nil && len(names) > 0
	})
}

// revoked returns the IDs of the revokes that workers have received.
func (l *lab) revoked(terminate bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, c := range l.commands {
		if c.Method == "revoke" && c.Arguments["terminate"] == terminate {
			ids = append(ids, c.Arguments["task_id"].([]string)...)
		}
	}
	return ids
}

// queued returns how many tasks wait for a worker.
func (l *lab) queued(queue string) int {
	l.t.Helper()
	state, err := l.Queue(l.ctx, queue)
	if err != nil {
		l.t.Fatal(err)
	}
	return state.Ready
}

// take returns the next task from the default queue.
func (l *lab) take() *celery.Message {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	m, err := l.Take(ctx, "celery")
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

func (l *lab) report(m *celery.Message, payload []byte) {
	l.t.Helper()
	if err := l.Report(l.ctx, m, payload); err != nil {
		l.t.Fatal(err)
	}
}

// words are those of the lab's servers.
func (l *lab) words() string {
	return "broker memory://" + l.name + "\nbackend memory://" + l.name + "\n"
}

// serve runs a site whose only handler is celery.
func (l *lab) serve(words string) *site.Site {
	l.t.Helper()
	return site.Serve(l.t, nil, l.directive(words))
}

func (l *lab) directive(words string) string { return "celery {\n" + l.words() + words + "\n}\n" }

// body of a task's message.
func bodyOf(t *testing.T, m *celery.Message) (args, kwargs string) {
	t.Helper()
	var body []json.RawMessage
	if err := json.Unmarshal(m.Body, &body); err != nil || len(body) != 3 {
		t.Fatalf("body %s: %v", m.Body, err)
	}
	return string(body[0]), string(body[1])
}

// leaving returns a context that ends when left is closed.
func leaving(t *testing.T, left <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		select {
		case <-left:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// problem reads problem details.
func problem(t *testing.T, res *http.Response, body string) map[string]any {
	t.Helper()
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("type is %q", got)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if fields["status"] != float64(res.StatusCode) {
		t.Errorf("status is %d, and %v in the body", res.StatusCode, fields["status"])
	}
	return fields
}

// wantProblem compares an answer's status and reason.
func wantProblem(t *testing.T, res *http.Response, body string, status int, reason string) map[string]any {
	t.Helper()
	fields := problem(t, res, body)
	if res.StatusCode != status || fields["reason"] != reason {
		t.Errorf("got %d %s, want %d %s", res.StatusCode, body, status, reason)
	}
	return fields
}
