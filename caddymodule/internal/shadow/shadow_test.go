package shadow

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// site is a route with mode shadow, in virtual time.
type site struct {
	t     *testing.T
	route *Route
	all   sync.WaitGroup
}

func newSite(t *testing.T, s offloader.Settings, change func(*Route)) *site {
	t.Helper()
	process := state.NewProcess()
	pool, err := process.Pools.Open("shadow", s)
	if err != nil {
		t.Fatal(err)
	}
	pool.SetShadow(true)
	rt := &Route{Pool: pool, Exit: process.Exit.Context, Ready: func() {}}
	if change != nil {
		change(rt)
	}
	return &site{t: t, route: rt}
}

// come makes a request whose run takes that long. It must be let through at once.
func (s *site) come(takes time.Duration, status int) {
	s.all.Go(func() {
		came := time.Now()
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
		err := s.route.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			if waited := time.Since(came); waited != 0 {
				s.t.Errorf("let through after %s", waited)
			}
			<-time.After(takes)
			w.WriteHeader(status)
			return nil
		}))
		if err != nil || w.Code != status || len(w.Header()) > 0 || time.Since(came) != takes {
			s.t.Errorf("got %d %v after %s, %v", w.Code, w.Header(), time.Since(came), err)
		}
	})
	synctest.Wait()
}

// at checks the numbers of the pool.
func (s *site) at(moment string, running, waiting int) {
	s.t.Helper()
	synctest.Wait()
	if n := s.route.Pool.Snapshot(); n.Running != running || n.Waiting != waiting {
		s.t.Errorf("%s: %d run and %d wait, want %d and %d", moment, n.Running, n.Waiting, running, waiting)
	}
}

func (s *site) rejected(want map[offloader.Reason]uint64) {
	s.t.Helper()
	got := s.route.Pool.ShadowRejected()
	for _, r := range offloader.Reasons() {
		if got[r] != want[r] {
			s.t.Errorf("%s: %d, want %d", r, got[r], want[r])
		}
	}
	if enforced := s.route.Pool.Snapshot().Rejected; len(enforced) > 0 {
		s.t.Errorf("counted as rejected: %v", enforced)
	}
}

// For the pool a request that has to wait runs later than it does, for as long.
func TestVirtualWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, offloader.Settings{Concurrency: 1, Queue: 1}, nil)
		s.come(time.Second, 200)
		s.at("at 0 s", 1, 0)
		<-time.After(200 * time.Millisecond)
		s.come(time.Second, 200) // waits until 1 s, and runs until 2 s
		s.at("at 0.2 s", 1, 1)
		s.come(time.Second, 200) // finds the queue full
		s.at("at 0.2 s", 1, 1)
		<-time.After(900 * time.Millisecond)
		s.at("at 1.1 s", 1, 0)
		<-time.After(800 * time.Millisecond)
		s.at("at 1.9 s", 1, 0)
		<-time.After(200 * time.Millisecond)
		s.at("at 2.1 s", 0, 0)
		s.all.Wait()
		s.rejected(map[offloader.Reason]uint64{offloader.QueueFull: 1})
		if n := s.route.Pool.Snapshot(); n.Admitted != 2 || n.Ended[offloader.Success] != 2 {
			t.Errorf("%d admitted, ended %v", n.Admitted, n.Ended)
		}
	})
}

// Waits that are too long, runs that are too long and the breaker are counted, and change
// nothing for clients.
func TestShadowOfLimits(t *testing.T) {
	breaker := &offloader.BreakerSettings{ConsecutiveFailures: 1, Window: time.Minute, CoolDown: time.Minute, Probes: 1, ProbeTimeout: time.Second}
	for name, tt := range map[string]struct {
		settings offloader.Settings
		change   func(*Route)
		come     []time.Duration
		status   int
		want     map[offloader.Reason]uint64
	}{
		"max_wait": {
			settings: offloader.Settings{Concurrency: 1, Queue: 5, MaxWait: time.Second}, status: 200,
			come: []time.Duration{3 * time.Second, time.Second, time.Second}, want: map[offloader.Reason]uint64{offloader.WaitTimeout: 2},
		},
		"run_timeout": {
			settings: offloader.Settings{Concurrency: 2}, change: func(rt *Route) { rt.RunTimeout = 2 * time.Second }, status: 200,
			come: []time.Duration{3 * time.Second, time.Second}, want: map[offloader.Reason]uint64{requests.RunTimeout: 1},
		},
		"first_byte_timeout of a virtual run": {
			settings: offloader.Settings{Concurrency: 1, Queue: 5}, change: func(rt *Route) { rt.FirstByteTimeout = 2 * time.Second }, status: 200,
			come: []time.Duration{time.Second, 3 * time.Second, time.Second}, want: map[offloader.Reason]uint64{requests.FirstByteTimeout: 1},
		},
		"max_time": {
			settings: offloader.Settings{Concurrency: 1, Queue: 5}, change: func(rt *Route) { rt.Deadline = deadline.Rule{MaxTime: 2 * time.Second} }, status: 200,
			come: []time.Duration{3 * time.Second, time.Second}, want: map[offloader.Reason]uint64{requests.RunTimeout: 1, offloader.WaitTimeout: 1},
		},
		"the breaker": {
			settings: offloader.Settings{Concurrency: 1, Queue: 5, Breaker: breaker}, status: 503,
			come: []time.Duration{0, 0, 0}, want: map[offloader.Reason]uint64{offloader.BreakerOpen: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, tt.settings, tt.change)
				for _, takes := range tt.come {
					s.come(takes, tt.status)
				}
				s.all.Wait()
				<-time.After(time.Minute)
				s.at("at the end", 0, 0)
				s.rejected(tt.want)
			})
		})
	}
}

// A panic of a handler goes on, and its run ends.
func TestPanicsInShadow(t *testing.T) {
	s := newSite(t, offloader.Settings{Concurrency: 1}, nil)
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("got %v", err)
		}
		if n := s.route.Pool.Snapshot(); n.Running != 0 || n.Ended[offloader.Failure] != 1 {
			t.Errorf("%d run, ended %v", n.Running, n.Ended)
		}
	}()
	_ = s.route.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }))
}

// What was rejected in shadow stays apart when the mode changes.
func TestModesCountApart(t *testing.T) {
	s := newSite(t, offloader.Settings{Concurrency: 1}, nil)
	pool := s.route.Pool
	for n, shadow := range []bool{true, false, true} {
		pool.SetShadow(shadow)
		for range n + 1 {
			_ = pool.Reject(offloader.QueueFull)
		}
	}
	if got := pool.ShadowRejected()[offloader.QueueFull]; got != 4 {
		t.Errorf("%d in shadow, want 4", got)
	}
	if got := pool.Snapshot().Rejected[offloader.QueueFull]; got != 2 {
		t.Errorf("%d rejected, want 2", got)
	}
}
