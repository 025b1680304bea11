package serving

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// booth is a route with one permit and no place, whose runs take 0.2 s, in virtual time.
type booth struct {
	t     *testing.T
	route *Route

	mu     sync.Mutex // guards the rest
	served []time.Duration
	held   int // rejections that took time
}

func newBooth(t *testing.T, hold time.Duration) *booth {
	t.Helper()
	process := state.NewProcess()
	pool, err := process.Pools.Open("booth", offloader.Settings{Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close(t.Context()) })
	return &booth{t: t, route: NewRoute(Settings{
		Process: process, Pool: pool, Logger: zap.NewNop(), Ready: func() {},
		Statuses: answers.Statuses{Reject: http.StatusServiceUnavailable}, RejectHold: hold,
	})}
}

func (b *booth) work(w http.ResponseWriter, _ *http.Request) error {
	<-time.After(200 * time.Millisecond)
	_, err := w.Write([]byte("done"))
	return err
}

// request makes a request of a client in its own way.
func (b *booth) request(client, connection int, change func(*http.Request)) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = fmt.Sprintf("10.0.0.%d:%d", client, connection)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if err := b.route.ServeHTTP(w, r, caddyhttp.HandlerFunc(b.work)); err != nil {
		b.t.Error(err)
	}
	return w
}

// obey is a client that comes back after the whole seconds of Retry-After until it is
// served.
func (b *booth) obey(client int, began time.Time) {
	for connection := 1; ; connection++ {
		asked := time.Now()
		w := b.request(client, connection, nil)
		took := time.Since(asked)
		b.mu.Lock()
		switch {
		case w.Code == http.StatusOK:
			b.served = append(b.served, time.Since(began))
		case took > 0:
			b.held++
		}
		b.mu.Unlock()
		if w.Code == http.StatusOK {
			return
		}
		seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
		ms, errMS := strconv.Atoi(w.Header().Get("Retry-After-Ms"))
		if err != nil || errMS != nil || seconds < 1 || ms < 1000 || ms > 1000*seconds || took >= time.Second {
			b.t.Errorf("after %s: Retry-After %d, Retry-After-Ms %d", took, seconds, ms)
			return
		}
		if took > 0 && ms != 1000*seconds {
			b.t.Errorf("held for %s, Retry-After %d, Retry-After-Ms %d", took, seconds, ms)
		}
		<-time.After(time.Duration(seconds) * time.Second)
	}
}

// 40 clients that know whole seconds only come together to one permit without a queue. If
// their rejections are held, each one comes at its turn; else one is served in each second.
func TestHeldRejections(t *testing.T) {
	for _, tt := range []struct {
		hold        time.Duration
		within      time.Duration
		least, most int
		held        bool
	}{
		{0, 20 * time.Second, 16, 24, false},
		{time.Second, 14 * time.Second, 36, 40, true},
	} {
		t.Run(tt.hold.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, began := newBooth(t, tt.hold), time.Now()
				var all sync.WaitGroup
				for client := range 40 {
					all.Go(func() { b.obey(client+1, began) })
				}
				all.Wait()
				n := 0
				for _, at := range b.served {
					if at <= tt.within {
						n++
					}
				}
				t.Logf("%d served within %s, all by %s; %d rejections held", n, tt.within, b.served[39], b.held)
				if n < tt.least || n > tt.most || (b.held > 0) != tt.held {
					t.Errorf("%d served within %s, %d held; want %d to %d, held %v", n, tt.within, b.held, tt.least, tt.most, tt.held)
				}
				if got := b.route.Pool.Held(); got != 0 {
					t.Errorf("%d held at the end", got)
				}
			})
		})
	}
}

// Only requests that are rejected because of a full queue on HTTP/1 are held.
func TestRejectionsThatAreNotHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		hold   time.Duration
		change func(*http.Request)
		before func(b *booth)
		held   bool
	}{
		"held":             {hold: time.Second, held: true},
		"without a hold":   {},
		"a hold too short": {hold: time.Nanosecond},
		"on HTTP/2":        {hold: time.Second, change: func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }},
		"of a pool that drains": {hold: time.Second, before: func(b *booth) {
			go func() { _ = b.route.Pool.Drain(b.t.Context()) }()
			synctest.Wait()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBooth(t, tt.hold)
				b.request(1, 1, nil) // the pool knows its runs
				b.request(1, 1, nil)
				var all sync.WaitGroup
				all.Go(func() { b.request(1, 1, nil) })
				synctest.Wait()
				if tt.before != nil {
					tt.before(b)
				}
				b.request(2, 1, tt.change) // the first turn is at a whole second
				asked := time.Now()
				w := b.request(3, 1, tt.change)
				took := time.Since(asked)
				if w.Code != http.StatusServiceUnavailable || (took > 0) != tt.held {
					t.Errorf("got %d after %s", w.Code, took)
				}
				all.Wait()
			})
		})
	}
}

// Scripts of other origins can read when to come back, however the site allows them.
func TestRejectionsExposeTheirFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, 0)
		var all sync.WaitGroup
		all.Go(func() { b.request(1, 1, nil) })
		synctest.Wait()
		w := b.request(2, 1, func(r *http.Request) { r.Header.Set("Origin", "https://a.example") })
		got := strings.Join(w.Result().Header[strings.ToLower("Access-Control-Expose-Headers")], "; ")
		if w.Code != http.StatusServiceUnavailable || got != "Retry-After, Retry-After-Ms, Offload-Request-Id" {
			t.Errorf("got %d, exposed %q", w.Code, got)
		}
		all.Wait()
	})
}
