package upstream

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const service = 50 * time.Millisecond

func thrashing() Config {
	return Config{
		Workers: 8, Backlog: 4, Thrash: 0.5,
		Routes: map[string]Route{
			"/slow":   {Service: service, Size: 100},
			"/fast":   {Size: 1},
			"/events": {Events: 3, Every: time.Second},
		},
	}
}

func get(w *workers, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return recorder
}

func (w *workers) snapshot() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

func TestAnswerHasItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(thrashing())
		start := time.Now()
		answer := get(w, "/slow/x")
		if answer.Code != http.StatusOK || answer.Body.Len() != 100 {
			t.Fatalf("status %d with %d bytes", answer.Code, answer.Body.Len())
		}
		if took := time.Since(start); took != service {
			t.Fatalf("took %v, want %v", took, service)
		}
		if got := get(w, "/other").Code; got != http.StatusNotFound {
			t.Fatalf("unknown path: status %d", got)
		}
		if got := w.snapshot(); got != (Stats{MaxInside: 1, Served: 1}) {
			t.Fatalf("stats %+v", got)
		}
	})
}

func TestWorkersServeSoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(thrashing())
		start := time.Now()
		var requests sync.WaitGroup
		for range 8 {
			requests.Go(func() { get(w, "/slow/x") })
		}
		requests.Wait()
		if took := time.Since(start); took != service {
			t.Fatalf("8 requests of 8 workers took %v, want %v", took, service)
		}
	})
}

// Four requests beyond the workers make the service take 4 x 0.5 longer.
func TestUpstreamThrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(thrashing())
		for range 12 {
			w.enter()
		}
		if got := w.service(Route{Service: service}); got != 3*service {
			t.Fatalf("service takes %v, want %v", got, 3*service)
		}
		if got := get(w, "/slow/x").Code; got != http.StatusServiceUnavailable {
			t.Fatalf("beyond the backlog: status %d, want 503", got)
		}
		for range 12 {
			w.leave()
		}
		want := Stats{MaxInside: 12, Served: 12, Overflown: 1}
		if got := w.snapshot(); got != want {
			t.Fatalf("stats %+v, want %+v", got, want)
		}
	})
}

func TestNoWorkersMeansNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := thrashing()
		config.Workers = 0
		w := newWorkers(config)
		start := time.Now()
		var requests sync.WaitGroup
		for range 100 {
			requests.Go(func() { get(w, "/slow/x") })
		}
		requests.Wait()
		if took := time.Since(start); took != service {
			t.Fatalf("100 requests took %v, want %v", took, service)
		}
	})
}

func TestEventsCarryTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(thrashing())
		start := time.Now()
		answer := get(w, "/events")
		if took := time.Since(start); took != 3*time.Second {
			t.Fatalf("took %v, want 3s", took)
		}
		if got := strings.Count(answer.Body.String(), "data: "); got != 3 || !answer.Flushed {
			t.Fatalf("%d events, flushed %v", got, answer.Flushed)
		}
	})
}

// An event stream with a hold is idle after its last event.
func TestEventStreamsAreHeldOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(Config{Routes: map[string]Route{"/idle": {Events: 1, Hold: time.Hour}}})
		start := time.Now()
		answer := get(w, "/idle")
		if got := strings.Count(answer.Body.String(), "data: "); got != 1 || !answer.Flushed {
			t.Errorf("%d events, flushed %v, want one", got, answer.Flushed)
		}
		if took := time.Since(start); took != time.Hour {
			t.Errorf("took %v, want an hour", took)
		}
	})
}

func TestJitterIsWithinItsBounds(t *testing.T) {
	w := newWorkers(thrashing())
	seen := make(map[time.Duration]bool)
	for range 1000 {
		got := w.service(Route{Service: service, Jitter: 10 * time.Millisecond})
		if got < 40*time.Millisecond || got > 60*time.Millisecond {
			t.Fatalf("service of %v", got)
		}
		seen[got] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d different durations", len(seen))
	}
}
