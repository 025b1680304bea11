//go:build integration

package browser

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// upstream takes its time, and fails on demand.
type upstream struct {
	broken atomic.Bool
	end    chan struct{} // closed to end all requests
}

// times of the routes; requests take half to one and a half of it.
var times = map[string]time.Duration{
	"report": 400 * time.Millisecond, "export": 900 * time.Millisecond, "render": 1500 * time.Millisecond,
	"search": 60 * time.Millisecond, "pay": 80 * time.Millisecond, "7": time.Hour,
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	took := times[route]/2 + time.Duration(rand.Int64N(int64(times[route]+1)))
	select {
	case <-time.After(took):
	case <-u.end:
	case <-r.Context().Done():
	}
	if route == "pay" && u.broken.Load() {
		w.WriteHeader(http.StatusBadGateway)
	}
}

const global = `servers {
	trusted_proxies static private_ranges
	protocols h1 h2 h2c h3
}`

// body is that of a site with pools of different fates.
const body = `
offload_status /status* {
	actions
}
offload /report/* {
	name reports
	concurrency 3
	queue 60
	max_wait 15s
}
offload /export/* {
	name exports
	concurrency 2
	queue 8
	max_wait 4s
}
offload /render/* {
	name render
	concurrency 1
	queue 20
}
offload /search/* {
	name search
	concurrency 8
}
offload /pay/* {
	name payments
	concurrency 4
	breaker {
		min_requests 5
		cool_down 30s
	}
}
reverse_proxy UPSTREAM
`

// stage is a site with load.
type stage struct {
	*site.Site
	t *testing.T
	u *upstream
	c *http.Client
}

func newStage(t *testing.T, body string) *stage {
	t.Helper()
	u := &upstream{end: make(chan struct{})}
	s := &stage{site.ServeGlobal(t, u, global, body), t, u, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}}
	t.Cleanup(func() { close(u.end) })
	return s
}

func (s *stage) origin() string { return "http://" + s.Clear }

// load sends requests to a route from a number of clients until the function that it
// returns is called.
func (s *stage) load(route string, clients int, pause time.Duration) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				s.ask(ctx, fmt.Sprintf("/%s/%s", route, []string{"monthly", "weekly", "2026-11", "by-region", "top-100"}[(i+n)%5]), fmt.Sprintf("203.0.113.%d", 10+i%200))
				testkit.PauseUntil(ctx, pause/2+rand.N(pause+1))
			}
		})
	}
	var once sync.Once
	end = func() {
		once.Do(func() {
			cancel()
			all.Wait()
			s.c.CloseIdleConnections()
		})
	}
	s.t.Cleanup(end)
	return end
}

func (s *stage) ask(ctx context.Context, path, client string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.origin()+path, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("X-Forwarded-For", client)
	if res, err := s.c.Do(req); err == nil {
		res.Body.Close()
	}
}
