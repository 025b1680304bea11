package celery_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// onRedis runs a site on a Redis.
func onRedis(t *testing.T, server *redistest.Server, words string) *site.Site {
	t.Helper()
	return site.Serve(t, nil, "celery {\nbroker "+server.URL()+"\nbackend "+server.URL()+"\ntask lab.add\n"+words+"\n}")
}

// The only worker is connected and has never replied: the request is rejected at once, without a
// task that could time out.
func TestAWorkerThatWasNeverHeard(t *testing.T) {
	server := redistest.NewServer(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	subscription := client.Subscribe(t.Context(), "/0.celery.pidbox")
	t.Cleanup(func() { subscription.Close() })
	testkit.Eventually(t, func() bool { return server.Subscribed("/0.celery.pidbox") })
	onRedis(t, server, "timeout 60s").EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url)
		wantRejection(t, res, body, "no_worker")
	})
}

// A broker that does not reply is unavailable. The deadline was that of the command, not of the
// request.
func TestABrokerThatAnswersNothing(t *testing.T) {
	server := redistest.NewServer(t)
	server.Stall(true)
	s := onRedis(t, server, "timeout 60s\nserver_timeout 2s")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url)
		wantRejection(t, res, body, "unavailable")
	})
}

// A worker that is busy with a task replies to no command, and takes the next task when it is
// free. Its clients get their results, as with Celery's own client.
func TestAWorkerThatFellSilent(t *testing.T) {
	l := newLab(t)
	var silent atomic.Bool
	var missed atomic.Int64
	l.worker(func(c celery.Command) string {
		switch {
		case silent.Load():
			if c.Method == "ping" && c.ReplyTo != nil {
				missed.Add(1)
			}
			return ""
		case c.Method == "ping":
			return `{"ok": "pong"}`
		case c.Method == "active_queues":
			return `[{"name": "celery"}]`
		}
		return ""
	})
	l.busy.Go(func() { _ = celerytest.Work(l.ctx, l.Memory, "celery", celerytest.Echo) })
	s := l.serve("task lab.echo\nargs 5\ntask_check off")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		get := func() {
			if res, body := site.Get(t, c, url); res.StatusCode != 200 || body != "5" {
				t.Fatalf("got %d %s", res.StatusCode, body)
			}
		}
		silent.Store(false)
		missed.Store(0)
		get()
		silent.Store(true)
		testkit.Eventually(t, func() bool {
			get()
			return missed.Load() > 0
		})
	})
}
