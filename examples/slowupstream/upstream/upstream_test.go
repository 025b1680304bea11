package upstream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time against a separate upstream.
func bubble(t *testing.T, o Options, test func(t *testing.T, s *Server)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(o)
		defer s.Close()
		test(t, s)
	})
}

// ask sends one request and reports whether the connection is still usable.
func ask(ctx context.Context, s *Server, path string) (rec *httptest.ResponseRecorder, whole bool) {
	rec = httptest.NewRecorder()
	defer func() { whole = recover() == nil }()
	s.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return rec, true
}

// askMany sends n requests at the same time and returns the time until all
// are answered.
func askMany(t *testing.T, s *Server, n int, path string) time.Duration {
	t.Helper()
	start := time.Now()
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() {
			if rec, whole := ask(t.Context(), s, path); !whole || rec.Code != http.StatusOK {
				t.Errorf("%s: %d, whole %t", path, rec.Code, whole)
			}
		})
	}
	clients.Wait()
	return time.Since(start)
}

func TestWorkersLimitWhatRunsAtOnce(t *testing.T) {
	bubble(t, Options{Workers: 2, Thrash: -1}, func(t *testing.T, s *Server) {
		if took := askMany(t, s, 6, "/report?delay=1s"); took != 3*time.Second {
			t.Errorf("6 seconds of work took 2 workers %v", took)
		}
		want := Stats{Workers: 2, MaxInFlight: 6, Executions: 6, Served: 6}
		if got := s.Stats(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

func TestThrashing(t *testing.T) {
	bubble(t, Options{Workers: 1, Thrash: 0.5}, func(t *testing.T, s *Server) {
		first := make(chan struct{})
		go func() {
			defer close(first)
			askMany(t, s, 1, "/report?delay=1s")
		}()
		synctest.Wait()
		// With 0, 1 and 0 others in the backlog: 1 s, 1.5 s, 1 s.
		if took := askMany(t, s, 2, "/report?delay=1s"); took != 3500*time.Millisecond {
			t.Errorf("took %v", took)
		}
		<-first
	})
}

func TestPingNeedsAWorker(t *testing.T) {
	bubble(t, Options{Workers: 1}, func(t *testing.T, s *Server) {
		busy := make(chan struct{})
		go func() {
			defer close(busy)
			ask(t.Context(), s, "/report?delay=3s")
		}()
		synctest.Wait()
		start := time.Now()
		if rec, _ := ask(t.Context(), s, "/ping"); rec.Body.String() != "pong\n" {
			t.Errorf("ping said %q", rec.Body)
		}
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("ping waited %v", waited)
		}
		<-busy
		if s.Stats().Pings != 1 {
			t.Errorf("%+v", s.Stats())
		}
	})
}

func TestWorksOnWhenTheClientLeaves(t *testing.T) {
	bubble(t, Options{Workers: 1}, func(t *testing.T, s *Server) {
		ctx, leave := context.WithCancel(t.Context())
		start, done := time.Now(), make(chan time.Duration)
		go func() {
			ask(ctx, s, "/report?delay=10s")
			done <- time.Since(start)
		}()
		synctest.Wait()
		leave()
		if took := <-done; took != 10*time.Second {
			t.Errorf("the worker was free after %v", took)
		}
	})
}

func TestFullBacklogKeepsClientsOut(t *testing.T) {
	bubble(t, Options{Workers: 1, Backlog: 1, Thrash: -1}, func(t *testing.T, s *Server) {
		inside := make(chan struct{})
		go func() {
			defer close(inside)
			askMany(t, s, 2, "/report?delay=5s")
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, whole := ask(ctx, s, "/report"); whole {
			t.Error("answered beyond the backlog")
		}
		<-inside
		if got := s.Stats(); got.Executions != 2 || got.MaxInFlight != 2 {
			t.Errorf("%+v, want nothing of the one outside", got)
		}
	})
}

func TestResponses(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, s *Server) {
		for path, want := range map[string]struct {
			status, size int
			whole        bool
		}{
			"/any/where":                            {200, 1024, true},
			"/report?status=503&size=10":            {503, 10, true},
			"/report?status=204":                    {204, 0, true},
			"/report?chunks=7&size=100003&pause=1s": {200, 100003, true},
			"/report?cut=head":                      {200, 0, false},
			"/report?cut=body&size=1000":            {200, 500, false},
			"/report?cut=body&size=1000&chunks=5":   {200, 500, false},
		} {
			rec, whole := ask(t.Context(), s, path)
			if rec.Code != want.status || rec.Body.Len() != want.size || whole != want.whole {
				t.Errorf("%s: %d, %d bytes, whole %t", path, rec.Code, rec.Body.Len(), whole)
			}
		}
		rec, _ := ask(t.Context(), s, "/report?trailers=true&chunks=3")
		if got := rec.Result().Trailer.Get("X-Report-Chunks"); got != "3" {
			t.Errorf("trailer %q", got)
		}
		if rec, _ := ask(t.Context(), s, "/report?speed=9"); rec.Code != http.StatusBadRequest ||
			!strings.Contains(rec.Body.String(), "unknown") {
			t.Errorf("unknown knob: %d %q", rec.Code, rec.Body)
		}
	})
}

func TestHangEndsWithTheUpstream(t *testing.T) {
	bubble(t, Options{Workers: 2}, func(t *testing.T, s *Server) {
		for _, path := range []string{"/report?hang=head", "/report?hang=body", "/ping"} {
			go func() {
				if _, whole := ask(t.Context(), s, path); whole {
					t.Errorf("%s was answered by a hanging upstream", path)
				}
			}()
			synctest.Wait()
		}
		s.Close()
		synctest.Wait()
		if got := s.Stats(); got.InFlight != 0 || got.Served != 0 {
			t.Errorf("%+v after the close", got)
		}
	})
}

func TestStatsAndReset(t *testing.T) {
	bubble(t, Options{Workers: 3}, func(t *testing.T, s *Server) {
		askMany(t, s, 2, "/report?delay=1s")
		rec, _ := ask(t.Context(), s, "/stats")
		want := `{"workers":3,"in_flight":0,"max_in_flight":2,"executions":2,"served":2,"pings":0}`
		if got := strings.TrimSpace(rec.Body.String()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/stats/reset", nil))
		if got := s.Stats(); got != (Stats{Workers: 3}) {
			t.Errorf("%+v after the reset", got)
		}
	})
}
