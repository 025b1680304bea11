package serving

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// timed is a route whose requests have a limited time, in virtual time.
type timed struct {
	t     testing.TB
	route *Route
}

func newTimed(t testing.TB, rule deadline.Rule, pool offloader.Settings) *timed {
	t.Helper()
	process := state.NewProcess()
	p, err := process.Pools.Open("timed", pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	return &timed{t, NewRoute(Settings{
		Process: process, Pool: p, Logger: zap.NewNop(), Ready: func() {}, Deadline: rule, OnAbandon: abandonCancel,
		Statuses: answers.Statuses{Reject: http.StatusServiceUnavailable, Timeout: http.StatusGatewayTimeout},
	})}
}

// request makes a request whose run ends when it is cancelled, or by itself after that time.
// began is called when the run begins.
func (x *timed) request(fields http.Header, run time.Duration, began func()) *httptest.ResponseRecorder {
	x.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = fields
	return x.send(r, run, began)
}

// send is request for any request.
func (x *timed) send(r *http.Request, run time.Duration, began func()) *httptest.ResponseRecorder {
	x.t.Helper()
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if began != nil {
			began()
		}
		work := time.NewTimer(run)
		defer work.Stop()
		select {
		case <-work.C:
			_, err := w.Write([]byte("done"))
			return err
		case <-r.Context().Done():
			return caddyhttp.Error(http.StatusBadGateway, r.Context().Err())
		}
	})
	if err := x.route.ServeHTTP(w, r, next); err != nil {
		w.Code = 0
		if handled, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			w.Code = handled.StatusCode
		}
	}
	return w
}

// ended returns the number of runs by outcome.
func (x *timed) ended() map[offloader.Outcome]uint64 { return x.route.Pool.Snapshot().Ended }

// The breaker counts a run that max_time ends if the run itself has used the time, and not if
// the wait has.
func TestMaxTimeBlamesTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTimed(t, deadline.Rule{MaxTime: 10 * time.Second}, offloader.Settings{Concurrency: 1, Queue: 9})
		var all sync.WaitGroup
		all.Go(func() {
			if w := x.request(http.Header{}, 7*time.Second, nil); w.Code != http.StatusOK {
				t.Errorf("got %d", w.Code)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if w := x.request(http.Header{}, 4*time.Second, nil); w.Code != http.StatusGatewayTimeout {
				t.Errorf("got %d", w.Code)
			}
		})
		all.Wait()
		if got := x.ended(); got[offloader.Excluded] != 1 || got[offloader.Failure] != 0 {
			t.Errorf("after a long wait: %v", got)
		}
		if w := x.request(http.Header{}, time.Minute, nil); w.Code != http.StatusGatewayTimeout {
			t.Errorf("got %d", w.Code)
		}
		if got := x.ended(); got[offloader.Failure] != 1 {
			t.Errorf("after a long run: %v", got)
		}
	})
}

// slowBody is a request body that comes after a while.
type slowBody struct{ takes time.Duration }

func (b *slowBody) Read([]byte) (int, error) {
	came := make(chan struct{})
	time.AfterFunc(b.takes, func() { close(came) })
	<-came
	return 0, io.EOF
}

// randomTimes are requests of random lengths with random limits, to a pool with random
// settings.
type randomTimes struct {
	*timed
	rand *rand.Rand

	started, rejected int
}

// upTo returns a random time below most.
func (x *randomTimes) upTo(most time.Duration) time.Duration {
	return time.Duration(x.rand.Int64N(int64(most)))
}

func newRandomTimes(t testing.TB, seed uint64) *randomTimes {
	r := rand.New(rand.NewPCG(seed, 0))
	x := &randomTimes{rand: r}
	rule := deadline.Rule{Client: "{http.request.header.Request-Timeout}"}
	if r.IntN(3) > 0 {
		rule.MaxTime = x.upTo(3*time.Second) + 1
	}
	pool := offloader.Settings{Concurrency: 1 + r.IntN(3), Queue: r.IntN(12), Order: []offloader.Order{offloader.OrderAuto, offloader.OrderFIFO}[r.IntN(2)]}
	if r.IntN(2) > 0 {
		pool.MaxWait = x.upTo(3*time.Second) + 1
	}
	x.timed = newTimed(t, rule, pool)
	x.route.RequestBounds = spool.Bounds{Memory: 1 << 10}
	return x
}

// play makes one request. Each run must begin before the end of its time.
func (x *randomTimes) play(seed uint64, all *sync.WaitGroup, mu *sync.Mutex) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	end := time.Time{}
	if x.route.Deadline.MaxTime > 0 {
		end = time.Now().Add(x.route.Deadline.MaxTime)
	}
	if x.rand.IntN(4) > 0 {
		allowed := x.upTo(2 * time.Second)
		r.Header.Set("Request-Timeout", allowed.String())
		if at := time.Now().Add(allowed); end.IsZero() || at.Before(end) {
			end = at
		}
	}
	if x.rand.IntN(4) == 0 {
		r.Body, r.ContentLength = io.NopCloser(&slowBody{x.upTo(time.Second)}), -1
	}
	run := x.upTo(500 * time.Millisecond)
	all.Go(func() {
		w := x.send(r, run, func() {
			if !end.IsZero() && !time.Now().Before(end) {
				x.t.Errorf("history %d: a run begins %s after the end of its time", seed, time.Since(end))
			}
			mu.Lock()
			x.started++
			mu.Unlock()
		})
		mu.Lock()
		defer mu.Unlock()
		if w.Code != http.StatusOK && w.Code != http.StatusGatewayTimeout {
			x.rejected++
		}
	})
}

// No run starts after the end of its time, in 100,000 requests of random histories.
func TestNoRunStartsAfterItsDeadline(t *testing.T) {
	histories, requests := 4000, 25
	if testkit.Race {
		histories /= 10
	}
	started, rejected := 0, 0
	for seed := range uint64(histories) {
		synctest.Test(t, func(t *testing.T) {
			x := newRandomTimes(t, seed)
			var all sync.WaitGroup
			var mu sync.Mutex
			for range requests {
				x.play(seed, &all, &mu)
				<-time.After(x.upTo(200 * time.Millisecond))
			}
			all.Wait()
			started, rejected = started+x.started, rejected+x.rejected
			if s := x.route.Pool.Snapshot(); s.Running != 0 || s.Waiting != 0 || s.Announced != 0 {
				t.Errorf("history %d: at the end %d run, %d wait, %d upload", seed, s.Running, s.Waiting, s.Announced)
			}
		})
	}
	t.Logf("%d of %d requests started, %d rejected", started, histories*requests, rejected)
	if started < histories || rejected < histories {
		t.Errorf("the histories test too little: %d started, %d rejected", started, rejected)
	}
}

// At three times the load that a pool can serve, at least 99 % of the runs that start end in
// time: requests that could not are rejected before.
func TestRunsThatStartEndInTime(t *testing.T) {
	const (
		permits = 8
		run     = 100 * time.Millisecond
		load    = 3
		during  = time.Minute
	)
	for name, order := range map[string]offloader.Order{"auto": offloader.OrderAuto, "fifo": offloader.OrderFIFO} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTimed(t, deadline.Rule{Client: "{http.request.header.Request-Timeout}"},
					offloader.Settings{Concurrency: permits, Queue: 100, MaxWait: 10 * time.Second, Order: order})
				r := rand.New(rand.NewPCG(1, 2))
				var all sync.WaitGroup
				var mu sync.Mutex
				codes := map[int]int{}
				for began := time.Now(); time.Since(began) < during; {
					takes := run * time.Duration(80+r.IntN(41)) / 100 // a fifth less or more
					allowed := 300*time.Millisecond + time.Duration(r.Int64N(int64(1700*time.Millisecond)))
					all.Go(func() {
						w := x.request(http.Header{"Request-Timeout": {allowed.String()}}, takes, nil)
						mu.Lock()
						defer mu.Unlock()
						codes[w.Code]++
					})
					<-time.After(time.Duration(r.ExpFloat64() * float64(run) / permits / load))
				}
				all.Wait()
				inTime, late := codes[http.StatusOK], codes[http.StatusGatewayTimeout]
				t.Logf("%d in time, %d late, %d rejected: %v", inTime, late, codes[http.StatusServiceUnavailable], x.route.Pool.Snapshot().Rejected)
				if late*99 > inTime {
					t.Errorf("%d of %d runs ended late", late, late+inTime)
				}
				if ideal := int(during/run) * permits; inTime < ideal*95/100 {
					t.Errorf("%d runs in time, want 95 %% of the %d that the permits can serve", inTime, ideal)
				}
			})
		})
	}
}
