package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// soakUpstream is every upstream of the soak: the first part of the path names
// the pool that the request came through, the query selects the behaviour.
type soakUpstream struct {
	pools map[string]*soakGauge
	mu    sync.Mutex
	wrong []string // events that must never happen
}

// soakGauge is how many runs of a pool the upstream has at once.
type soakGauge struct {
	*soakPool
	now, most atomic.Int64
	within    atomic.Int64 // Unix time in nanoseconds when it last was within its limit
}

func newSoakUpstream() *soakUpstream {
	u := &soakUpstream{pools: map[string]*soakGauge{}}
	for i := range soakPools {
		u.pools[soakPools[i].name] = &soakGauge{soakPool: &soakPools[i]}
	}
	return u
}

// fail records an event that must never happen.
func (u *soakUpstream) fail(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wrong = append(u.wrong, fmt.Sprintf(format, args...))
}

// failures returns the recorded failures.
func (u *soakUpstream) failures() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.wrong
}

// newsTakes is how long the news of a cancelled run may be on its way.
const newsTakes = 2 * time.Second

func (g *soakGauge) note(now int64) {
	if now <= g.limit {
		g.within.Store(time.Now().UnixNano())
	}
}

// enter counts a run until leave is called, which has to be before its last byte
// goes out: after that the pool may start the next one.
func (u *soakUpstream) enter(ctx context.Context, g *soakGauge) (leave func()) {
	once := sync.OnceFunc(func() { g.note(g.now.Add(-1)) })
	n := g.now.Add(1)
	g.note(n)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	switch {
	case n <= g.limit:
	case g.exact:
		u.fail("%d runs at once in pool %s of %d", n, g.name, g.limit)
	default:
		time.AfterFunc(newsTakes, func() {
			n, since := g.now.Load(), time.Unix(0, g.within.Load())
			if n > g.limit && time.Since(since) > newsTakes {
				u.fail("%d runs at once in pool %s of %d, for seconds", n, g.name, g.limit)
			}
		})
	}
	if !g.exact {
		context.AfterFunc(ctx, once)
	}
	return once
}

// soakCall is one request at the upstream.
type soakCall struct {
	*soakUpstream
	w     http.ResponseWriter
	r     *http.Request
	leave func()
	holds bool // its pool counts upgraded connections
	fault string
	seed  kit.Sequence
	up    int64 // length of the request's body
	down  int64 // and of the answer's
}

func (u *soakUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pool, _, _ := strings.Cut(r.URL.Path[1:], "/")
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(r.URL.Query().Get(key), 10, 64)
		return n
	}
	c := &soakCall{
		soakUpstream: u, w: w, r: r, fault: r.URL.Query().Get("fault"),
		seed: kit.Sequence(number("seed")), up: number("up"), down: number("down"),
	}
	c.holds = pool == "hold"
	c.leave = u.enter(r.Context(), u.pools[pool])
	defer c.leave()
	w.Header().Set("X-Seed", r.URL.Query().Get("seed"))
	switch {
	case c.fault != early && !c.readBody():
	case r.Header.Get("Upgrade") != "":
		c.echo()
	default:
		soakFaults[c.fault](c)
	}
}

// readBody reports whether the body came whole. One that was cut must look so.
func (c *soakCall) readBody() bool {
	j := &kit.Judge{Sequence: c.seed}
	_, err := io.Copy(j, c.r.Body)
	if _, broken := errors.AsType[*kit.WrongByte](err); broken || (err == nil && j.At != c.up) {
		c.fail("an upload of %d bytes came as %d: %v", c.up, j.At, err)
	}
	return err == nil
}

// answer writes all of an answer.
func (c *soakCall) answer(status int) {
	c.w.Header().Set("Content-Length", strconv.FormatInt(c.down, 10))
	last := max(c.down-1, 0)
	if last == 0 {
		c.leave()
	}
	c.w.WriteHeader(status)
	if c.write(0, last) {
		c.leave()
		c.write(last, c.down)
	}
}

// write writes a part of the answer's body and reports whether it could.
func (c *soakCall) write(from, to int64) bool {
	buf := make([]byte, 16<<10)
	for from < to {
		p := buf[:min(int64(len(buf)), to-from)]
		c.seed.Fill(p, from)
		if _, err := c.w.Write(p); err != nil {
			return false
		}
		from += int64(len(p))
	}
	return true
}

// wait pauses until the end of d or of the request.
func (c *soakCall) wait(d time.Duration) { testkit.PauseUntil(c.r.Context(), d) }

// raw takes the connection and writes text to it, and then a part of the body. It
// ends with a reset or a close.
func (c *soakCall) raw(head string, body int64, reset bool) {
	conn, buf, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return // the other side was faster
	}
	defer conn.Close()
	c.leave()
	_, _ = buf.WriteString(head)
	p := make([]byte, body)
	c.seed.Fill(p, 0)
	_, _ = buf.Write(p)
	_ = buf.Flush() // if it fails the other side was faster
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
}
