package serving

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// errDown is what reverse_proxy returns if it cannot connect.
var errDown = caddyhttp.Error(http.StatusBadGateway, reverseproxy.NewDialError(errors.New("connection refused")))

// held is a route of a pool whose breaker holds its callers, in virtual time.
type held struct {
	t     *testing.T
	route *Route
	next  caddyhttp.HandlerFunc // behind it
	runs  int
}

func newHeld(t *testing.T, change func(*offloader.Settings)) *held {
	t.Helper()
	process := state.NewProcess()
	settings := offloader.DefaultSettings()
	settings.MaxWait, settings.Breaker.Hold = 0, time.Hour
	if change != nil {
		change(&settings)
	}
	pool, err := process.Pools.Open("held", settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if used := process.Budget.Usage(); used != (spool.Usage{}) {
			t.Errorf("not given back: %+v", used)
		}
		_ = pool.Close(context.Background())
	})
	return &held{t: t, route: NewRoute(Settings{
		Process: process, Pool: pool, Logger: zap.NewNop(), Ready: func() {}, Resends: 1,
		RequestBounds: spool.Bounds{Memory: 1 << 20},
		Statuses:      answers.Statuses{Reject: http.StatusServiceUnavailable, Timeout: http.StatusGatewayTimeout},
	})}
}

// send takes a request through the route.
func (h *held) send(method, body string) (*httptest.ResponseRecorder, error) {
	ctx, end := context.WithCancel(h.t.Context())
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, method, "/", strings.NewReader(body))
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := h.route.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		h.runs++
		return h.next(w, r)
	}))
	end()
	synctest.Wait() // what waits for the end of the server's work is done
	return w, err
}

// A request runs 32 times at most. Then the last error is the answer.
func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, nil)
		h.next = func(http.ResponseWriter, *http.Request) error { return errDown }
		_, err := h.send(http.MethodPost, "body")
		if !isRefused(err) || h.runs != maxAttempts+1 {
			t.Errorf("got %v after %d runs", err, h.runs)
		}
		if g := h.route.Pool.Gauges(); g.Running+g.Waiting != 0 || len(h.route.Pool.Requests.All()) != 0 {
			t.Errorf("left: %+v", g)
		}
	})
}

// What no other run can make better, or the handlers have decided, is the answer at once.
func TestErrorsThatAreTheAnswer(t *testing.T) {
	rejected := caddyhttp.Error(http.StatusServiceUnavailable, &offloader.RejectedError{Reason: offloader.QueueFull})
	for name, tt := range map[string]struct {
		err    error
		change func(*offloader.Settings)
		before func(w http.ResponseWriter)
	}{
		"of a handler":           {err: caddyhttp.Error(http.StatusInternalServerError, errors.New("a handler's"))},
		"without an upstream":    {err: caddyhttp.Error(http.StatusServiceUnavailable, errors.New("no upstreams available"))},
		"about the client":       {err: caddyhttp.Error(http.StatusForbidden, reverseproxy.NewDialError(errors.New("refused")))},
		"of a pool behind":       {err: rejected},
		"of a pool without hold": {err: errDown, change: func(s *offloader.Settings) { s.Breaker.Hold = 0 }},
		"after the head":         {err: errDown, before: func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld(t, tt.change)
				h.next = func(w http.ResponseWriter, _ *http.Request) error {
					if tt.before != nil {
						tt.before(w)
					}
					return tt.err
				}
				if _, err := h.send(http.MethodGet, ""); h.runs != 1 || !errors.Is(err, tt.err) {
					t.Errorf("got %v after %d runs", err, h.runs)
				}
			})
		})
	}
}

// A drain waits for requests that go back, and lets them run.
func TestDrainsWaitForRequestsThatGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, func(s *offloader.Settings) { s.Concurrency = 1 })
		var drain sync.WaitGroup
		drained := false
		h.next = func(w http.ResponseWriter, _ *http.Request) error {
			if drained {
				t.Error("drained before the end")
			}
			if h.runs == 1 {
				drain.Go(func() {
					_ = h.route.Pool.Drain(t.Context())
					drained = true
				})
				synctest.Wait()
			}
			if h.runs < 10 {
				return errDown
			}
			w.WriteHeader(http.StatusOK)
			return nil
		}
		if w, err := h.send(http.MethodPost, "body"); err != nil || w.Code != http.StatusOK || h.runs != 10 {
			t.Errorf("got %d, %v after %d runs", w.Code, err, h.runs)
		}
		drain.Wait()
	})
}

// Each run gets the body, whatever those before have done to it, and writes alone.
func TestRunsDoNotMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, nil)
		var first http.ResponseWriter
		h.next = func(w http.ResponseWriter, r *http.Request) error {
			text, err := io.ReadAll(r.Body)
			if err != nil || string(text) != "body" {
				t.Errorf("read %q, %v", text, err)
			}
			if h.runs == 1 {
				first = w
				w.Header().Set("X-First", "1")
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second))
				return errDown
			}
			first.WriteHeader(http.StatusTeapot)
			w.Header().Set("X-Second", "2")
			_, err = w.Write(text)
			return err
		}
		w, err := h.send(http.MethodPost, "body")
		if err != nil || w.Code != http.StatusOK || w.Body.String() != "body" {
			t.Errorf("got %d %q, %v", w.Code, w.Body, err)
		}
		if w.Header().Get("X-First") != "" || w.Header().Get("X-Second") != "2" {
			t.Errorf("got %v", w.Header())
		}
	})
}

// The breaker probes no earlier than a failed answer has asked for.
func TestTheBackendsWishCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, func(s *offloader.Settings) { s.Breaker.ConsecutiveFailures = 1 })
		h.next = func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Retry-After", "30")
			if h.runs == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return nil
		}
		began := time.Now()
		if w, err := h.send(http.MethodGet, ""); err != nil || w.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d, %v", w.Code, err)
		}
		if w, err := h.send(http.MethodGet, ""); err != nil || w.Code != http.StatusOK {
			t.Errorf("got %d, %v", w.Code, err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("the second one ran after %s", took)
		}
	})
}
