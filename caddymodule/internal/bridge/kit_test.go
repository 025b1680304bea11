package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	kib = 1 << 10
	mib = 1 << 20

	// inlineLimit is from where on the helper hands a response on.
	inlineLimit = 128 * kib
	// leadSize is how much of a body the run's own goroutine writes.
	leadSize   = 2 * kib
	nudgeAfter = time.Millisecond
	flushIdle  = time.Millisecond
	stallAfter = time.Minute
	patience   = 5 * time.Millisecond
)

var (
	errGone   = errors.New("connection reset by peer")
	errKilled = errors.New("first byte timeout")
	errEnded  = errors.New("the run has ended")
)

// owner counts what it is told. Its fields are read when the run has ended, or
// after synctest.Wait.
type owner struct {
	mu        sync.Mutex
	heads     []int
	direct    bool
	goroutine string // of HeadSent
	upgraded  int
	goesOn    int
	lost      int
	onLost    func() // nil: nothing
}

func (o *owner) HeadSent(status int, direct bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.heads, o.direct, o.goroutine = append(o.heads, status), direct, goroutine()
}

func (o *owner) Upgraded() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.upgraded++
}

func (o *owner) GoesOn() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.goesOn++
}

func (o *owner) ClientLost() {
	o.mu.Lock()
	o.lost++
	f := o.onLost
	o.mu.Unlock()
	if f != nil {
		f()
	}
}

func (o *owner) timesLost() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}

func (o *owner) timesGoingOn() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.goesOn
}

// goroutine returns the number of the caller's goroutine.
func goroutine() string {
	var buf [64]byte
	number, _, _ := strings.Cut(strings.TrimPrefix(string(buf[:runtime.Stack(buf[:], false)]), "goroutine "), " ")
	return number
}

// client is a writer as a server has it, and what the client has got.
type client struct {
	used   int // without a lock: the race detector sees use by two at once
	header http.Header

	// Called instead of doing well, nil for doing well.
	onHead  func(status int)
	onWrite func(p []byte) error
	onFlush func() error

	mu     sync.Mutex // for tests that look while the run goes on
	infos  []info     // 1xx
	status int
	head   http.Header // as it was sent
	body   bytes.Buffer
	calls  []call
}

type info struct {
	status int
	header http.Header
}

// call is one that the client's writer has got.
type call struct {
	what      string // as "head 200", "write 5", "flush"
	goroutine string
}

func newClient() *client { return &client{header: make(http.Header)} }

func (c *client) called(what string) {
	c.used++
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call{what, goroutine()})
}

// did returns the calls without their goroutines.
func (c *client) did() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, call := range c.calls {
		all = append(all, call.what)
	}
	return strings.Join(all, ", ")
}

// got returns a copy of the body.
func (c *client) got() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.body.Bytes())
}

func (c *client) Header() http.Header { return c.header }

func (c *client) WriteHeader(status int) {
	c.called(fmt.Sprintf("head %d", status))
	if c.onHead != nil {
		c.onHead(status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if status < 200 && status != http.StatusSwitchingProtocols {
		c.infos = append(c.infos, info{status, c.header.Clone()})
		return
	}
	if c.status == 0 {
		c.status, c.head = status, c.header.Clone()
	}
}

func (c *client) Write(p []byte) (int, error) {
	c.called(fmt.Sprintf("write %d", len(p)))
	if c.onWrite != nil {
		if err := c.onWrite(p); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.Write(p)
}

func (c *client) FlushError() error {
	c.called("flush")
	if c.onFlush != nil {
		return c.onFlush()
	}
	return nil
}

// controls adds what only a connection can do.
type controls struct {
	*client
	reading, writing time.Time
	duplex           bool
	hijacked         int
	hijackErr        error
}

func (c *controls) SetReadDeadline(t time.Time) error  { c.reading = t; return nil }
func (c *controls) SetWriteDeadline(t time.Time) error { c.writing = t; return nil }
func (c *controls) EnableFullDuplex() error            { c.duplex = true; return nil }

func (c *controls) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.hijacked++
	return nil, nil, c.hijackErr
}

// wrapped is an outer handler's writer around another.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// setting is one run that answers one client.
type setting struct {
	t      testing.TB
	client *client
	req    *http.Request
	leave  context.CancelFunc // the client leaves
	budget *spool.Budget
	opts   bridge.Options
	owner  *owner
	w      *bridge.Writer
}

// newSetting has a response spool of 256 KiB in memory and as much in a file.
// At its end the budget must be free again.
func newSetting(t testing.TB) *setting {
	ctx, leave := context.WithCancel(context.Background())
	s := &setting{
		t: t, client: newClient(), leave: leave, owner: new(owner), w: new(bridge.Writer),
		req:    httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil),
		budget: newBudget(t),
	}
	s.opts = bridge.Options{
		Stream: stream.Options{
			Budget: s.budget, Bounds: spool.Bounds{Memory: 256 * kib, File: 256 * kib}, Stall: stallAfter,
		},
		Nudge: timerlist.New(nudgeAfter),
		Owner: s.owner,
	}
	t.Cleanup(leave)
	return s
}

// newBudget returns one that must be free at the end.
func newBudget(t testing.TB) *spool.Budget {
	b := spool.NewBudget(spool.Limits{Dir: t.TempDir(), Memory: 64 * mib, Disk: 64 * mib, Uploads: 10})
	t.Cleanup(func() {
		if used := b.Usage(); used != (spool.Usage{}) {
			t.Errorf("not given back: %+v", used)
		}
	})
	return b
}

// begin makes the writer, for a client with a plain connection.
func (s *setting) begin() *bridge.Writer { return s.beginOn(s.client) }

func (s *setting) beginOn(client http.ResponseWriter) *bridge.Writer {
	s.w.Init(client, s.req, s.opts)
	return s.w
}

// play runs a scene in parallel to others, in virtual time.
func play(t *testing.T, name string, scene func(s *setting)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { scene(newSetting(t)) })
	})
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// write writes n bytes and wants no error.
func (s *setting) write(n int) {
	s.t.Helper()
	if got, err := s.w.Write(pattern(n)); err != nil || got != n {
		s.t.Fatalf("Write of %d bytes: %d, %v", n, got, err)
	}
}

// did wants these calls of the client's writer.
func (s *setting) did(want string) {
	s.t.Helper()
	if got := s.client.did(); got != want {
		s.t.Errorf("the client's writer got %q, want %q", got, want)
	}
}

// got wants the client to have got n bytes of the pattern, as one response.
func (s *setting) got(n int) {
	s.t.Helper()
	if got := s.client.got(); !bytes.Equal(got, pattern(n)) {
		s.t.Errorf("the client got %d bytes, want %d of the pattern", len(got), n)
	}
}

// told wants the owner to have been told of one head.
func (s *setting) told(status int, direct bool) {
	s.t.Helper()
	if !slices.Equal(s.owner.heads, []int{status}) || s.owner.direct != direct {
		s.t.Errorf("the owner was told of heads %v, direct %v; want %d, %v", s.owner.heads, s.owner.direct, status, direct)
	}
}

// isErr wants an error of that class.
func isErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// text is one whose every part can be told from every other.
var text = sync.OnceValue(func() []byte {
	var b []byte
	for i := 0; len(b) < 2*mib; i++ {
		b = append(strconv.AppendInt(b, int64(i), 36), '\n')
	}
	return b
})

// pattern returns the first n bytes of a text without repetition.
func pattern(n int) []byte { return text()[:n:n] }

// inTurn hands out successive pieces of the pattern.
type inTurn struct{ at int }

func (i *inTurn) take(n int) []byte {
	p := pattern(i.at + n)[i.at:]
	i.at += n
	return p
}

// blocker blocks calls of a client's writer until it is opened.
type blocker struct {
	led     bool          // the first write has passed
	reached chan struct{} // gets one for each call that blocks
	open    chan struct{}
}

func newBlocker() *blocker {
	return &blocker{reached: make(chan struct{}, 100), open: make(chan struct{})}
}

func (b *blocker) wait() {
	b.reached <- struct{}{}
	<-b.open
}

// write lets the first bytes pass, as the buffers of net/http do.
func (b *blocker) write([]byte) error {
	if b.led {
		b.wait()
	}
	b.led = true
	return nil
}

// failAfter fails all writes but the first n.
func failAfter(n int, err error) func([]byte) error {
	return func([]byte) error {
		if n--; n < 0 {
			return err
		}
		return nil
	}
}

// serve runs next behind a writer as package caddymodule does, on the
// connection's own goroutine and under a separate context.
func serve(w *bridge.Writer, client http.ResponseWriter, req *http.Request, o bridge.Options, next http.HandlerFunc) {
	w.Init(client, req, o)
	returned := false
	defer func() {
		if !returned { // next panics, or ends the goroutine; let it, after this
			w.Finish(errEnded)
		}
	}()
	next(w, req.WithContext(context.WithoutCancel(req.Context())))
	returned = true
	var cut error
	if !w.Complete() {
		cut = errEnded
	}
	w.Finish(cut)
	if w.HeadPassedOn() && w.Lost() {
		panic(http.ErrAbortHandler) // the client has got only a part
	}
}

// panicOf returns what f panics with.
func panicOf(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// never is a nudge that does not come.
var never = timerlist.New(0)
