package celery_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// wantRejection checks a rejection with Retry-After.
func wantRejection(t *testing.T, res *http.Response, body, reason string) {
	t.Helper()
	wantProblem(t, res, body, 503, reason)
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
		t.Errorf("Retry-After is %q", res.Header.Get("Retry-After"))
	}
}

// Without a worker, a request is rejected at once, and no task is sent.
func TestNoWorker(t *testing.T) {
	l := newLab(t)
	s := l.serve("task lab.add")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		began := time.Now()
		res, body := site.Get(t, c, url)
		wantRejection(t, res, body, "no_worker")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
	if n := l.queued("celery"); n != 0 {
		t.Errorf("%d tasks were sent", n)
	}
}

// A worker is alive, but takes from another queue.
func TestNoWorkerOfTheQueue(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	s := l.serve("task lab.add\nqueue nobody")
	res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
	wantRejection(t, res, body, "no_worker")
}

// The broker has no such queue, which RabbitMQ reports.
func TestNoQueue(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	l.RemoveQueue("celery")
	for _, words := range []string{"", "worker_check off\n"} {
		s := l.serve("task lab.add\n" + words)
		res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
		wantRejection(t, res, body, "no_worker")
	}
}

// A task that no worker knows is rejected without being sent.
func TestUnknownTask(t *testing.T) {
	l := newLab(t)
	l.work(1, func(m *celery.Message) [][]byte { return [][]byte{celerytest.Succeed(m, "1")} })
	s := l.serve("task lab.{path.0}\ntasks lab.*")
	c := s.Clients()["h1"]
	res, body := site.Get(t, c, "https://"+s.Addr+"/other")
	wantProblem(t, res, body, 404, "unknown_task")
	if res, body := site.Get(t, c, "https://"+s.Addr+"/add"); res.StatusCode != 200 {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}

// With the checks off, the task is sent.
func TestChecksOff(t *testing.T) {
	l := newLab(t)
	s := l.serve("task lab.other\nworker_check off\ntask_check off")
	done := make(chan struct{})
	go func() {
		defer close(done)
		res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
		if res.StatusCode != 200 || body != "7" {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
	}()
	m := l.take()
	l.report(m, celerytest.Succeed(m, "7"))
	<-done
}

func TestServersThatAreNotAvailable(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	s := l.serve("task lab.echo\nworker_check off\ntask_check off")
	c := s.Clients()["h1"]
	l.Fail(fmt.Errorf("%w: 10.0.0.7:6379 refused", celery.ErrUnavailable))
	res, body := site.Get(t, c, "https://"+s.Addr)
	wantRejection(t, res, body, "unavailable")
	if len(body) > 200 || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %v %s", res.Header, body)
	}
	l.Fail(celery.ErrUnconfirmed)
	res, body = site.Get(t, c, "https://"+s.Addr)
	wantProblem(t, res, body, 502, "unconfirmed")
	l.Fail(nil)
	if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}

// Waiting requests end when their results are lost or too large.
func TestLostResults(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.add")
	for cause, reason := range map[error]string{celery.ErrResultLost: "result_lost", celery.ErrTooLarge: "result_too_large"} {
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			var waiting sync.WaitGroup
			for range 5 {
				waiting.Go(func() {
					res, body := site.Get(t, c, url)
					wantProblem(t, res, body, 502, reason)
				})
			}
			testkit.Eventually(t, func() bool { return l.Watching() == 5 })
			for range 5 {
				l.take()
			}
			l.Lose(fmt.Errorf("%w: 10.0.0.7:6379", cause))
			waiting.Wait()
		})
	}
}

// max_outstanding limits the waiting requests by the workers' concurrency.
func TestMaxOutstanding(t *testing.T) {
	for words, want := range map[string]int{"max_outstanding 3": 3, "max_outstanding 2x": 4} {
		t.Run(words, func(t *testing.T) {
			l := newLab(t)
			work := make(chan struct{})
			l.work(2, func(m *celery.Message) [][]byte {
				<-work
				return [][]byte{celerytest.Succeed(m, "1")}
			})
			s := l.serve("task lab.slow\n" + words)
			c := s.Clients()["h1"]
			var waiting sync.WaitGroup
			for range want {
				waiting.Go(func() {
					if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 {
						t.Errorf("got %d %s", res.StatusCode, body)
					}
				})
			}
			testkit.Eventually(t, func() bool { return l.Watching() == want })
			res, body := site.Get(t, c, "https://"+s.Addr)
			wantRejection(t, res, body, "saturated")
			close(work)
			waiting.Wait()
			if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 {
				t.Errorf("got %d %s", res.StatusCode, body)
			}
		})
	}
}

// Workers without remote control do not block requests.
func TestWorkersThatDoNotAnswer(t *testing.T) {
	l := newLab(t)
	l.busy.Go(func() { _ = celerytest.Work(l.ctx, l.Memory, "celery", celerytest.Echo) })
	s := l.serve("task lab.echo\nargs 5\nworker_check off\nmax_outstanding 1x")
	if res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); res.StatusCode != 200 || body != "5" {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}
