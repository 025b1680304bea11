package load

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// fake is a transport with scripted answers.
type fake func(*http.Request) (*http.Response, error)

func (f fake) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}
}

func newFakeClient(patience time.Duration, f fake) *Client {
	return &Client{http: &http.Client{Transport: f}, patience: patience}
}

func TestKindsOfEnds(t *testing.T) {
	t.Parallel()
	shed := answer(503, strings.NewReader(""))
	shed.Header.Set("Proxy-Status", `caddy; error=connection_limit_reached; details="queue_full"`)
	own := answer(500, strings.NewReader(""))
	own.Header.Set("X-Error", "ValueError")
	problem := answer(503, strings.NewReader(`{"title": "Service Unavailable", "reason": "no_worker"}`))
	problem.Header.Set("Content-Type", "application/problem+json")
	for want, f := range map[string]fake{
		Done:                    func(*http.Request) (*http.Response, error) { return answer(200, strings.NewReader("right")), nil },
		"wrong body":            func(*http.Request) (*http.Response, error) { return answer(200, strings.NewReader("left")), nil },
		"status 502":            func(*http.Request) (*http.Response, error) { return answer(502, strings.NewReader("")), nil },
		"status 503 queue_full": func(*http.Request) (*http.Response, error) { return shed, nil },
		"status 500 ValueError": func(*http.Request) (*http.Response, error) { return own, nil },
		"status 503 no_worker":  func(*http.Request) (*http.Response, error) { return problem, nil },
		"body cut short": func(*http.Request) (*http.Response, error) {
			return answer(200, io.MultiReader(strings.NewReader("ri"), iotest.ErrReader(io.ErrUnexpectedEOF))), nil
		},
		"connection reset":         func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET },
		"connection refused":       func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
		"connection error in dial": func(*http.Request) (*http.Response, error) { return nil, &net.OpError{Op: "dial", Err: syscall.EMFILE} },
		"connection error":         func(*http.Request) (*http.Response, error) { return nil, errors.New("anything") },
	} {
		got := newFakeClient(time.Minute, f).Fetch(t.Context(), "http://x/", DigestOf("right"))
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// deaf is an upstream that never answers.
func deaf(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestImpatienceIsNotTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newFakeClient(5*time.Second, deaf)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start := time.Now()
		if got := c.Fetch(ctx, "http://x/", Digest{}); got != GaveUp || time.Since(start) != 5*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		if got := c.Fetch(ctx, "http://x/", Digest{}); got != Unanswered || time.Since(start) != 7*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
}

func TestCrowdIsClosedLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var inside, most atomic.Int64
		c := newFakeClient(time.Minute, func(*http.Request) (*http.Response, error) {
			n := inside.Add(1)
			most.Store(max(most.Load(), n))
			<-time.After(time.Second)
			inside.Add(-1)
			return answer(200, strings.NewReader("")), nil
		})
		start, tally := time.Now(), NewTally()
		Crowd{Clients: 4, Each: 3, URL: "http://x/"}.Run(t.Context(), c, tally)
		if took := time.Since(start); took != 3*time.Second || most.Load() != 4 {
			t.Errorf("took %v with %d at once", took, most.Load())
		}
		if got := tally.Route(); got.Completed != 12 || got.Lost != 0 || got.Max != 1000 {
			t.Errorf("%+v", got)
		}
	})
}

func TestStoppedCrowdCountsEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		tally := NewTally()
		Crowd{Clients: 10, Each: 5, URL: "http://x/"}.Run(ctx, newFakeClient(5*time.Second, deaf), tally)
		got := tally.Route().Errors
		if got[GaveUp] != 10 || got[Unanswered] != 10 || got[NeverSent] != 30 {
			t.Errorf("%v", got)
		}
	})
}

func TestProbeIsOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newFakeClient(time.Minute, func(*http.Request) (*http.Response, error) {
			<-time.After(3 * time.Second)
			return answer(200, strings.NewReader("")), nil
		})
		enough, tally := make(chan struct{}), NewTally()
		time.AfterFunc(990*time.Millisecond, func() { close(enough) })
		Probe{Every: 20 * time.Millisecond, URL: "http://x/"}.Run(t.Context(), enough, c, tally)
		got := tally.Route()
		if got.Completed != 50 || got.P50 != 3000 || got.Max != 3000 {
			t.Errorf("%+v, want 50 probes of 3 s although each outlasts the run", got)
		}
	})
}
