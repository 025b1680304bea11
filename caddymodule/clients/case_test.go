//go:build integration

package clients

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// timeout is that of a run.
const timeout = 500 * time.Millisecond

// held are the options of a route whose permits a test takes, and gives back at once.
const held = "first_byte_timeout off\non_abandon cancel"

// situation is a state of a pool in which it answers by itself, the same each time.
type situation struct {
	name string // as in docs/clients.json
	// pool and route are their options.
	pool, route string
	// arrange brings the pool into the state.
	arrange func(p *proxy, t *testing.T, pool string)
	reason  string
	status  int
	code    int // of gRPC
	// comeBack means that a time to come back is announced.
	comeBack bool
}

var situations = []situation{
	{
		name: "full", pool: "concurrency 1\nqueue 0\nbreaker off", route: held,
		arrange: (*proxy).fill, reason: "queue_full", status: http.StatusServiceUnavailable, code: 14, comeBack: true,
	},
	{
		name: "open", pool: "concurrency 1\nqueue 0\nbreaker {\ncool_down 2s\n}",
		arrange: (*proxy).openBreaker, reason: "breaker_open", status: http.StatusServiceUnavailable, code: 14, comeBack: true,
	},
	{
		name: "draining", pool: "concurrency 1\nqueue 0\nbreaker off",
		arrange: (*proxy).drain, reason: "draining", status: http.StatusServiceUnavailable, code: 14, comeBack: true,
	},
	{
		name: "cancelled", pool: "concurrency 50\nqueue 0\nbreaker off",
		reason: "cancelled", status: http.StatusServiceUnavailable, code: 1,
	},
	{
		name: "timeout", pool: "concurrency 50\nqueue 0\nbreaker off",
		route:  "first_byte_timeout " + timeout.String() + "\non_abandon cancel",
		reason: "first_byte_timeout", status: http.StatusGatewayTimeout, code: 4,
	},
	{
		name: "timeout-501", pool: "concurrency 50\nqueue 0\nbreaker off",
		route:  "first_byte_timeout " + timeout.String() + "\non_abandon cancel\ntimeout_status 501",
		reason: "first_byte_timeout", status: http.StatusNotImplemented, code: 4,
	},
}

// poolOf names a pool, which a client has for itself, so that others do not change the
// times that it gets.
func (s situation) poolOf(client string) string { return s.name + "-" + client }

// path is that of a call.
func (s situation) path(k kind, id string) string {
	if k.grpc {
		return "/" + s.name + "." + k.name + "/" + id
	}
	return "/" + s.name + "/" + k.name + "/" + id
}

// arrange brings the pools of a client into their states. It comes right before the calls:
// the longer a permit is held, the later clients are to come back.
func (p *proxy) arrange(t *testing.T, client string) {
	t.Helper()
	for _, s := range situations {
		if s.arrange != nil {
			s.arrange(p, t, s.poolOf(client))
		}
	}
}

// fill takes the only permit until the test ends.
func (p *proxy) fill(t *testing.T, pool string) {
	t.Helper()
	p.hold(t, pool, 1)
}

// hold takes permits of a pool until the test ends, or the function that it returns is
// called.
func (p *proxy) hold(t *testing.T, pool string, permits int) (release func()) {
	t.Helper()
	ctx, release := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range permits {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.clear+"/hold/"+pool, nil)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if res, err := p.http.Do(req); err == nil {
				res.Body.Close()
			}
		})
	}
	t.Cleanup(all.Wait)
	t.Cleanup(release)
	p.eventually(t, "the permits of "+pool+" are taken", func() bool { return p.running(t, pool) == permits })
	return release
}

func (p *proxy) openBreaker(t *testing.T, pool string) {
	t.Helper()
	p.change(t, pool, "breaker", `{"state": "open"}`)
}

func (p *proxy) drain(t *testing.T, pool string) {
	t.Helper()
	p.change(t, pool, "drain", "")
}

// change asks for a change of a pool.
func (p *proxy) change(t *testing.T, pool, what, body string) {
	t.Helper()
	if status := p.ask(t, http.MethodPost, "/offload/pools/"+pool+"/"+what, body, nil); status/100 != 2 {
		t.Fatalf("%s of %s: %d", what, pool, status)
	}
}

// operate cancels all runs in the pools of that situation until the test ends.
func (p *proxy) operate(t *testing.T) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			p.cancelAll(t)
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		close(end)
		<-ended
	})
}

func (p *proxy) cancelAll(t *testing.T) {
	var list struct {
		Requests []struct{ ID, Pool string }
	}
	p.ask(t, http.MethodGet, "/offload/running", "", &list)
	for _, r := range list.Requests {
		if strings.HasPrefix(r.Pool, "cancelled-") {
			p.ask(t, http.MethodPost, "/offload/requests/"+r.ID+"/cancel", "", nil)
		}
	}
}

func (p *proxy) running(t *testing.T, pool string) int {
	t.Helper()
	var gauges struct{ Running int }
	p.ask(t, http.MethodGet, "/offload/pools/"+pool, "", &gauges)
	return gauges.Running
}

// eventually waits until a condition holds, for as long as anything here takes.
func (p *proxy) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !testkit.Poll(time.Minute, holds) {
		t.Fatalf("not within a minute: %s", what)
	}
}

// routes are those of a client in all situations.
func routes(names []string) (pools, sites string) {
	var p, s strings.Builder
	for _, name := range names {
		for _, one := range situations {
			pool := one.poolOf(name)
			fmt.Fprintf(&p, "pool %s {\n%s\n}\n", pool, one.pool)
			fmt.Fprintf(&s, "@%[1]s path /%[2]s/%[3]s/* /%[2]s.%[3]s/* /hold/%[1]s\noffload @%[1]s %[1]s {\n%[4]s\n}\n", pool, one.name, name, one.route)
		}
	}
	return p.String(), s.String()
}
