package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// soakClient is one client, which sends one request after the other.
type soakClient struct {
	*soakTally
	reloads *soakReloads
	rnd     *rand.Rand
	clients map[string]*http.Client // by version of HTTP
	pausing map[string]*http.Client // for clients that pause: on HTTP/2 and 3 they block others of their connection
	addr    string
	clear   string // the address without TLS
}

// soakRequest is a request of a client, and the behaviour of the upstream to it.
type soakRequest struct {
	pool, fault  string
	habit        string // of the client
	version      string // of HTTP, empty where a habit has only one
	seed         kit.Sequence
	up, down     int64
	incremental  bool
	mayBeLeaving bool // for all that the server can see
	err          error
}

// hangs is how long nothing can take.
const hangs = 20 * time.Second

// patient is the habit of most clients.
const patient = "waits for all"

// habits are the behaviours of clients. Each returns the result of its request.
var habits = map[string]func(c *soakClient, q *soakRequest) string{
	patient: func(c *soakClient, q *soakRequest) string { return c.ask(q, hangs, nil, 0) },
	"leaves": func(c *soakClient, q *soakRequest) string {
		return c.ask(q, time.Duration(c.rnd.Int64N(int64(300*time.Millisecond))), nil, 0)
	},
	"trickles": func(c *soakClient, q *soakRequest) string {
		q.up = 1 + c.rnd.Int64N(20_000)
		return c.ask(q, hangs, &trickle{q.seed.Reader(q.up)}, 0)
	},
	"pauses reading": func(c *soakClient, q *soakRequest) string {
		q.down = 1 << 20
		return c.ask(q, hangs, nil, time.Duration(c.rnd.Int64N(int64(2*time.Second))))
	},
	"resets":          (*soakClient).resets,
	"closes its half": (*soakClient).halfCloses,
	"pipelines":       (*soakClient).pipelines,
	"upgrades":        (*soakClient).upgrades,
}

// next makes up a request.
func (c *soakClient) next() *soakRequest {
	q := &soakRequest{
		pool: soakPools[c.rnd.IntN(len(soakPools))].name, fault: "none",
		seed: kit.Sequence(c.rnd.Uint64() >> 1), down: c.rnd.Int64N(50_000),
		incremental: c.rnd.IntN(10) == 0,
	}
	if c.rnd.IntN(2) == 0 {
		q.fault = soakFaultNames[c.rnd.IntN(len(soakFaultNames))]
	}
	if c.rnd.IntN(2) == 0 {
		q.up = 1 + c.rnd.Int64N(100_000)
	}
	if c.rnd.IntN(20) == 0 {
		q.up, q.down = 1+c.rnd.Int64N(3<<20), c.rnd.Int64N(2<<20)
	}
	if q.pool == "exact" && q.up > 0 {
		q.incremental = false // an upload that breaks off in the middle of a run cancels it
	}
	return q
}

func (q *soakRequest) method() string {
	if q.up > 0 {
		return http.MethodPost
	}
	return http.MethodGet
}

func (q *soakRequest) uri() string {
	return fmt.Sprintf("/%s/x?fault=%s&seed=%d&up=%d&down=%d", q.pool, url.QueryEscape(q.fault), q.seed, q.up, q.down)
}

// ask sends a request over any version of HTTP and judges the answer.
func (c *soakClient) ask(q *soakRequest, patience time.Duration, body io.Reader, pause time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if body == nil && q.up > 0 {
		body = q.seed.Reader(q.up)
	}
	req, err := http.NewRequestWithContext(ctx, q.method(), "https://"+c.addr+q.uri(), body)
	if err != nil {
		panic(err) // a mistake of this test
	}
	// A request that came while the server closed its connection is sent again.
	req.Header.Set("Idempotency-Key", q.seed.String())
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(q.seed.Reader(q.up)), nil }
	if c.rnd.IntN(2) == 0 {
		req.ContentLength = q.up
	}
	if q.incremental {
		req.Header.Set("Incremental", "?1")
	}
	q.version = []string{"h1", "h2", "h3"}[c.rnd.IntN(3)]
	clients := c.clients
	if pause > 0 {
		clients = c.pausing
	}
	res, err := clients[q.version].Do(req)
	if err != nil {
		return c.failed(q, err, patience)
	}
	defer res.Body.Close()
	testkit.PauseUntil(ctx, pause)
	return c.judge(q, res, patience)
}

// failed classifies a request that got no answer, or only a part of one.
func (c *soakClient) failed(q *soakRequest, err error, patience time.Duration) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		if patience == hangs {
			c.fail("%+v hangs", q)
		}
		return "left"
	}
	q.err = err
	return "cut"
}

// judge reads an answer. One from the upstream must be this request's, and have
// the right bytes; if it looks whole it must be.
func (c *soakClient) judge(q *soakRequest, res *http.Response, patience time.Duration) string {
	seed := res.Header.Get("X-Seed")
	j := &kit.Judge{Sequence: q.seed}
	var text strings.Builder // of an answer that is not the upstream's
	to := io.Writer(&text)
	if seed != "" {
		to = j
	}
	_, err := io.Copy(to, res.Body)
	_, wrong := errors.AsType[*kit.WrongByte](err)
	switch {
	case wrong, seed != "" && seed != q.seed.String():
		rest, end := io.Copy(io.Discard, res.Body)
		c.fail("%+v got the wrong answer: %d, seed %q, %v; then %d bytes, %v", q, res.StatusCode, seed, err, rest, end)
		return "wrong"
	case err != nil:
		return c.failed(q, err, patience)
	case seed == "" && slices.Contains([]int{408, 413, 502, 503, 504}, res.StatusCode):
		return strconv.Itoa(res.StatusCode)
	case seed == "" && res.StatusCode == http.StatusTooManyRequests && q.incremental && q.up > 0:
		return "429"
	case seed == "" && res.StatusCode == 499 && q.mayBeLeaving:
		return "left"
	case seed == "", cutting[q.fault], j.At != q.down:
		c.fail("%+v got what looks like a whole answer: %d after %d bytes, %q %q", q, res.StatusCode, j.At, res.Header, text.String())
		return "wrong"
	}
	return "whole"
}

// trickle sends a little now and then.
type trickle struct{ io.Reader }

func (t *trickle) Read(p []byte) (int, error) {
	testkit.Pause(10 * time.Millisecond)
	return t.Reader.Read(p[:min(len(p), 500)])
}
