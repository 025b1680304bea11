package celery_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// If the client leaves, its task is revoked by the route's option.
func TestLeavingRevokes(t *testing.T) {
	for words, want := range map[string]struct{ plain, terminated bool }{
		"":                 {true, false},
		"revoke on":        {true, false},
		"revoke off":       {false, false},
		"revoke terminate": {false, true},
	} {
		t.Run(words, func(t *testing.T) {
			l := newLab(t)
			l.work(0, nil)
			s := l.serve("task lab.slow\n" + words)
			logged := 0
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				var m *celery.Message
				site.Leave(t, c, url, func() { m = l.take() })
				logged++
				line := s.AccessLog(logged)[logged-1]
				if line["status"] != 499.0 {
					t.Errorf("logged with status %v", line["status"])
				}
				if want.plain || want.terminated {
					testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(want.terminated), m.CorrelationID) })
				}
			})
			if n := len(l.revoked(true)) + len(l.revoked(false)); (n > 0) != (want.plain || want.terminated) {
				t.Errorf("%d tasks were revoked", n)
			}
			if l.Watching() != 0 {
				t.Errorf("%d tasks are watched", l.Watching())
			}
		})
	}
}

// A client that leaves is also detected if no other handler reads its body.
func TestLeavingAfterAnUpload(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow\nargs 1")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		req := request(t, http.MethodPost, url, strings.Repeat("a", 1<<16))
		done := make(chan struct{})
		left := make(chan struct{})
		transport := c.Transport
		go func() {
			defer close(done)
			req := req.Clone(leaving(t, left))
			if res, err := transport.RoundTrip(req); err == nil {
				res.Body.Close()
			}
		}()
		m := l.take()
		close(left)
		<-done
		testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
	})
}

// Behind offload, the run of a client that leaves is cancelled at once, and its permit is
// released.
func TestLeavingBehindOffload(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := site.Serve(t, nil, "offload {\nname celery\nconcurrency 1\nqueue 5\n}\nroute {\n"+l.directive("task lab.slow")+"}")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		var first *celery.Message
		site.Leave(t, c, url, func() { first = l.take() })
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, body := site.Get(t, c, url); res.StatusCode != 200 || body != "2" {
				t.Errorf("got %d %s", res.StatusCode, body)
			}
		}()
		second := l.take() // it has got the only permit
		l.report(second, celerytest.Succeed(second, "2"))
		<-done
		testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), first.CorrelationID) })
	})
}

// If many clients leave at once, their tasks are revoked by few commands, since each goes to all
// workers.
func TestRevokesAreGathered(t *testing.T) {
	const clients = 60
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow")
	c := s.Clients()["h2"]
	left := make(chan struct{})
	var leave sync.WaitGroup
	for range clients {
		leave.Go(func() {
			req := request(t, http.MethodGet, "https://"+s.Addr, "")
			if res, err := c.Do(req.WithContext(leaving(t, left))); err == nil {
				res.Body.Close()
			}
		})
	}
	testkit.Eventually(t, func() bool { return l.Watching() == clients })
	close(left)
	leave.Wait()
	testkit.Eventually(t, func() bool { return len(l.revoked(false)) == clients })
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.commands); n > clients/4 {
		t.Errorf("%d commands for %d tasks", n, clients)
	}
}

func TestTimeout(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow\ntimeout 500ms")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url)
		fields := wantProblem(t, res, body, 504, "timeout")
		m := l.take()
		if fields["task_id"] != m.CorrelationID {
			t.Errorf("got %s", body)
		}
		testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
	})
}

// A run that offload ends is answered by offload, and its task is revoked.
func TestTimeoutOfTheRun(t *testing.T) {
	for _, words := range []string{"first_byte_timeout 500ms", "first_byte_timeout off\nrun_timeout 500ms"} {
		t.Run(words, func(t *testing.T) {
			l := newLab(t)
			l.work(0, nil)
			s := site.Serve(t, nil, "offload {\nname short\n"+words+"\n}\nroute {\n"+l.directive("task lab.slow")+"}")
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				if res, body := site.Get(t, c, url); res.StatusCode != 504 {
					t.Errorf("got %d %s", res.StatusCode, body)
				}
				m := l.take()
				testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
			})
		})
	}
}

// A task that has ended is not revoked, even if its response is not delivered.
func TestEndedTasksAreNotRevoked(t *testing.T) {
	l := newLab(t)
	l.work(2, func(m *celery.Message) [][]byte {
		return [][]byte{celerytest.Succeed(m, fmt.Sprintf("%q", strings.Repeat("a", 1<<20)))}
	})
	s := l.serve("task lab.echo\nrevoke terminate")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 20 {
			res, err := c.Do(request(t, http.MethodGet, url, ""))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close() // without reading it
		}
	})
	testkit.Eventually(t, func() bool { return l.Watching() == 0 })
	if ids := l.revoked(true); len(ids) != 0 {
		t.Errorf("%d tasks were revoked", len(ids))
	}
}
