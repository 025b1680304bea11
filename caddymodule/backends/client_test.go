//go:build integration

package backends

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// answer is the response that a client got.
type answer struct {
	client string
	status int // 0 without a head
	// cut means that the body ended early.
	cut bool
	// left means that the client did not wait for the answer.
	left bool
	took time.Duration
	// late means that the backend had ended the request when the answer came.
	late bool
	err  error
}

func (a answer) String() string {
	switch {
	case a.left:
		return "left"
	case a.cut:
		return fmt.Sprint(a.status, " cut")
	case a.err != nil:
		return a.err.Error()
	default:
		return fmt.Sprint(a.status)
	}
}

var errLeft = errors.New("the client leaves")

// client sends one request on a separate connection, which ends with it.
type client struct {
	route   string // hold or stream
	seconds float64
	// leaveAfter is when it leaves; zero: it waits for the answer.
	leaveAfter time.Duration
	// leaveAtFirst makes it leave when the first piece of the body is there.
	leaveAtFirst bool
	// ended reports whether the backend has ended a request; nil: that is not asked.
	ended func(id string) bool
}

func (c client) ask(p *proxy, pool, id string) (a answer) {
	ctx, leave := context.WithCancelCause(context.Background())
	defer leave(nil)
	if c.leaveAfter > 0 {
		defer time.AfterFunc(c.leaveAfter, func() { leave(errLeft) }).Stop()
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	a.client = id
	began := time.Now()
	defer func() {
		a.took = time.Since(began)
		a.late = c.ended != nil && c.ended(id)
		a.left = a.left || errors.Is(context.Cause(ctx), errLeft)
	}()
	url := fmt.Sprintf("http://%s/%s/%s?id=%s&seconds=%v", p.addr, pool, c.route, id, c.seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{err: err}
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		a.err = err
		return a
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	if c.leaveAtFirst && res.StatusCode == http.StatusOK {
		_, a.err = io.ReadFull(res.Body, make([]byte, len("first\n")))
		a.left = a.err == nil
		return a // and breaks the connection
	}
	_, a.err = io.Copy(io.Discard, res.Body)
	a.cut = a.err != nil
	return a
}

// askAll has clients ask, each a little after the one before, and returns their answers
// in that order.
func askAll(p *proxy, pool string, clients []client, pause time.Duration) []answer {
	answers := make([]answer, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { answers[i] = c.ask(p, pool, fmt.Sprintf("%s-%d", pool, i)) })
		testkit.Pause(pause)
	}
	all.Wait()
	return answers
}
