package celery_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// listener is a client of a stream of events.
type listener struct {
	t    *testing.T
	res  *http.Response
	text *bufio.Scanner
}

// listen asks for a stream, which ends with the test or with ctx.
func listen(ctx context.Context, t *testing.T, c *http.Client, url string) *listener {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("got %d %s", res.StatusCode, got)
	}
	return &listener{t, res, bufio.NewScanner(res.Body)}
}

// next returns the next event as one line, empty at the end of the stream.
func (l *listener) next() string {
	var lines []string
	for l.text.Scan() {
		if line := l.text.Text(); line != "" {
			lines = append(lines, line)
		} else if len(lines) > 0 {
			return strings.Join(lines, " | ")
		}
	}
	return strings.Join(lines, " | ")
}

func (l *listener) want(event string) {
	l.t.Helper()
	if got := l.next(); got != event {
		l.t.Errorf("got %q, want %q", got, event)
	}
}

func (l *lab) progress(m *celery.Message, meta string) {
	l.t.Helper()
	l.report(m, celerytest.State(m.CorrelationID, "PROGRESS", meta))
}

// around are sites without and with offload around the handler.
var around = map[string]func(directive string) string{
	"alone":          func(directive string) string { return directive },
	"behind offload": func(directive string) string { return "offload {\nname stream\n}\nroute {\n" + directive + "}" },
}

func TestStatesAreStreamed(t *testing.T) {
	for name, wrap := range around {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.work(0, nil)
			s := site.Serve(t, nil, wrap(l.directive("task lab.slow\nresult raw")))
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				ear := listen(t.Context(), t, c, url)
				m := l.take()
				id := m.CorrelationID
				ear.want(fmt.Sprintf(`event: task | id: %s | data: {"task_id":%q}`, id, id))
				l.report(m, celerytest.State(id, celery.Started, `{"pid": 1}`))
				ear.want(`event: progress | id: ` + id + ` | data: {"state":"STARTED","meta":{"pid":1}}`)
				l.progress(m, `{"current": 1, "total": 3}`)
				ear.want(`event: progress | id: ` + id + ` | data: {"state":"PROGRESS","meta":{"current":1,"total":3}}`)
				l.progress(m, `NaN`)
				ear.want(`event: progress | id: ` + id + ` | data: {"state":"PROGRESS","meta":null}`)
				l.report(m, celerytest.Succeed(m, `{"n": 42}`))
				ear.want(`event: result | id: ` + id + ` | data: {"n":42}`)
				ear.want("")
				if cache := ear.res.Header.Get("Cache-Control"); cache != "no-store" {
					t.Errorf("Cache-Control is %q", cache)
				}
			})
		})
	}
}

// The last event of a stream without a result is the failure.
func TestStreamsThatFail(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow\ntimeout 1s\ndetail message\nerrors {\nValueError 422\n}")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		ear := listen(t.Context(), t, c, url)
		m := l.take()
		ear.next()
		l.report(m, celerytest.Raise(m, "ValueError", "boom"))
		ear.want(`event: error | id: ` + m.CorrelationID + ` | data: {"title":"Unprocessable Entity","status":422,"detail":"boom",` +
			`"reason":"task_failed","task_id":"` + m.CorrelationID + `","exception":"ValueError"}`)
		ear.want("")

		ear = listen(t.Context(), t, c, url)
		m = l.take()
		ear.next()
		l.report(m, celerytest.Succeed(m, "[NaN]"))
		if got := ear.next(); !strings.Contains(got, "event: error") || !strings.Contains(got, `"reason":"result_unreadable"`) {
			t.Errorf("got %s", got)
		}

		ear = listen(t.Context(), t, c, url)
		m = l.take()
		ear.next()
		if got := ear.next(); !strings.Contains(got, "event: error") || !strings.Contains(got, `"status":504`) {
			t.Errorf("got %s", got)
		}
		testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
	})
}

// Before a task was sent there is no stream, but an answer with a status.
func TestStreamsThatDoNotBegin(t *testing.T) {
	l := newLab(t)
	s := l.serve("task lab.slow")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Do(t, c, request(t, http.MethodGet, url, "", "Accept", "text/event-stream"))
		wantRejection(t, res, body, "no_worker")
	})
}

// A browser that asks again after the end of a stream does not run the task again.
func TestStreamsAreNotRunAgain(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		req := request(t, http.MethodGet, url, "", "Accept", "text/event-stream", "Last-Event-ID", celery.NewID())
		if res, body := site.Do(t, c, req); res.StatusCode != 204 || body != "" {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
	})
	if n := l.queued("celery"); n != 0 {
		t.Errorf("%d tasks were sent", n)
	}
}

func TestProgressOff(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	s := l.serve("task lab.echo\nargs 1\nprogress off")
	res, body := site.Do(t, s.Clients()["h1"], request(t, http.MethodGet, "https://"+s.Addr, "", "Accept", "text/event-stream"))
	if res.StatusCode != 200 || body != "1" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}

// The cause of a retry is an exception, which clients get as configured by detail.
func TestRetriesAreStreamed(t *testing.T) {
	const exception = `{"exc_type":"ValueError","exc_message":["secret"],"exc_module":"builtins"}`
	for detail, meta := range map[string]string{"message": exception, "none": "null"} {
		l := newLabNamed(t, "retries."+detail)
		l.work(0, nil)
		s := l.serve("task lab.slow\ndetail " + detail)
		ear := listen(t.Context(), t, s.Clients()["h1"], "https://"+s.Addr)
		m := l.take()
		ear.next()
		l.report(m, celerytest.State(m.CorrelationID, celery.Retry, exception))
		ear.want(`event: progress | id: ` + m.CorrelationID + ` | data: {"state":"RETRY","meta":` + meta + `}`)
		l.report(m, celerytest.Succeed(m, "1"))
		ear.want(`event: result | id: ` + m.CorrelationID + ` | data: 1`)
	}
}

func TestLeavingAStreamRevokes(t *testing.T) {
	for name, wrap := range around {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.work(0, nil)
			s := site.Serve(t, nil, wrap(l.directive("task lab.slow")))
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				ctx, leave := context.WithCancel(t.Context())
				ear := listen(ctx, t, c, url)
				m := l.take()
				ear.next()
				leave()
				testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
			})
		})
	}
}

func TestSilentStreamsAreKeptAlive(t *testing.T) {
	t.Cleanup(celeryhandler.KeepAliveAfter(20 * time.Millisecond))
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		ear := listen(t.Context(), t, c, url)
		m := l.take()
		ear.next()
		ear.want(":")
		ear.want(":")
		l.report(m, celerytest.Succeed(m, "1"))
		for {
			if got := ear.next(); got != ":" {
				if got != "event: result | id: "+m.CorrelationID+" | data: 1" {
					t.Errorf("got %s", got)
				}
				break
			}
		}
	})
}

// Progress is at the client within 20 ms. On a machine that does other things as
// well it is the middle of many that counts, of the best of some attempts, without
// the time that a request needs there meanwhile for nothing.
func TestProgressArrivesSoon(t *testing.T) {
	const bound, events, attempts = 20 * time.Millisecond, 51, 5
	nothing := httptest.NewServer(http.NotFoundHandler())
	defer nothing.Close()
	defer nothing.Client().CloseIdleConnections()
	for name, wrap := range around {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.work(0, nil)
			s := site.Serve(t, nil, wrap(l.directive("task lab.slow")))
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				best := time.Hour
				for range attempts {
					ear := listen(t.Context(), t, c, url)
					m := l.take()
					ear.next()
					took, idle := make([]time.Duration, events), make([]time.Duration, events)
					for i := range took {
						began := time.Now()
						site.Get(t, nothing.Client(), nothing.URL)
						idle[i] = time.Since(began)
						began = time.Now()
						l.progress(m, fmt.Sprint(i))
						if got := ear.next(); !strings.HasSuffix(got, fmt.Sprintf(`"meta":%d}`, i)) {
							t.Fatalf("got %s", got)
						}
						took[i] = time.Since(began)
					}
					l.report(m, celerytest.Succeed(m, "1"))
					slices.Sort(took)
					slices.Sort(idle)
					if best = min(best, took[events/2]-idle[events/2]); best < bound {
						return
					}
				}
				t.Errorf("progress takes %s", best)
			})
		})
	}
}
