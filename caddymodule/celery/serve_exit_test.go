//go:build unix

package celery_test

import (
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// At the end of the process, unfinished tasks are revoked.
func TestExitRevokes(t *testing.T) {
	var mu sync.Mutex
	var revoked []any
	server := redisLab(t, func(c celery.Command) {
		mu.Lock()
		defer mu.Unlock()
		if ids, ok := c.Arguments["task_id"].([]any); ok {
			revoked = append(revoked, ids...)
		}
	})
	p := site.Start(t, nil, "grace_period 200ms", "celery {\nbroker "+server.URL()+"\nbackend "+server.URL()+
		"\ntask lab.echo\nqueue nobody\nworker_check off\ntask_check off\n}", site.Limits{})
	var waiting sync.WaitGroup
	for _, c := range p.Clients() {
		waiting.Go(func() {
			res, err := c.Do(request(t, http.MethodGet, "https://"+p.Addr, ""))
			if err != nil {
				return // it was cut
			}
			defer res.Body.Close()
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("got %d", res.StatusCode)
			}
		})
	}
	testkit.Eventually(t, func() bool { return len(server.List("nobody")) == 3 })
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	waiting.Wait()
	testkit.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(revoked) == 3
	})
	for _, envelope := range server.List("nobody") {
		m, err := celery.OpenEnvelope([]byte(envelope))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(revoked, any(m.CorrelationID)) {
			t.Errorf("task %s was not revoked", m.CorrelationID)
		}
	}
}
