package offloader_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// Reasons of a program that uses the package.
var (
	unspooledLimit = offloader.NewReason("unspooled_limit", "too many permits are held by callers that send while they run")
	spoolFull      = offloader.NewReason("spool_full", "no room to keep the input")
)

// errLeft is the cause with which callers leave.
var errLeft = errors.New("the client left")

// stage is one pool in a bubble of virtual time, with the callers that came.
type stage struct {
	t     *testing.T
	pool  *offloader.Pool
	began time.Time
	came  []*caller // all of them
}

// play runs a scene in parallel to others, on its own stage: one permit,
// ten waiters, no longest wait and no breaker, unless change says otherwise. At
// the end the callers' runs are ended, and the gauges must be zero.
func play(t *testing.T, name string, change func(*offloader.Settings), scene func(s *stage), opts ...offloader.Option) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			settings := offloader.Settings{Concurrency: 1, Queue: 10}
			if change != nil {
				change(&settings)
			}
			s := &stage{t: t, began: time.Now()}
			s.pool = s.open(settings, opts...)
			scene(s)
			s.finish()
		})
	})
}

// open makes a pool and closes it at the end, when its gauges must be zero.
func (s *stage) open(settings offloader.Settings, opts ...offloader.Option) *offloader.Pool {
	s.t.Helper()
	p, err := offloader.New("reports", settings, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := p.Close(ended(nil)); err != nil {
			s.t.Errorf("closing at the end: %v", err)
		}
		wantIdle(s.t, p)
	})
	return p
}

// ended returns a context that has ended already.
func ended(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

func wantIdle(t *testing.T, p *offloader.Pool) {
	t.Helper()
	got := p.Snapshot()
	if got.Running != 0 || got.Waiting != 0 || got.Abandoned != 0 || got.Lingering != 0 || got.Announced != 0 || got.Capped != 0 || got.Preflights != 0 || got.Lent != 0 || got.Predecessors != 0 || got.Detached != 0 || got.OldestWait != 0 {
		t.Errorf("gauges at the end: %+v", got)
	}
	for _, c := range got.Classes {
		if c.Waiting != 0 || c.Running != 0 {
			t.Errorf("classes at the end: %+v", got.Classes)
		}
	}
}

// caller has called Acquire.
type caller struct {
	s      *stage
	permit offloader.Permit
	came   time.Time
	after  time.Duration // from its coming to the answer
	err    error
	done   chan struct{}
	leave  context.CancelCauseFunc

	finished bool // by the stage
}

// check announces a caller and withdraws it.
func (s *stage) check(g guest) error {
	ticket := offloader.Ticket{Pool: s.pool, Caller: g}
	defer ticket.Withdraw()
	return ticket.Announce()
}

// arrive lets a caller come. It returns when the caller has its answer or waits
// for it.
func (s *stage) arrive() *caller { return s.arriveWith(context.Background()) }

func (s *stage) arriveWith(ctx context.Context) *caller { return s.arriveAt(ctx, nil) }

func (s *stage) arriveAt(ctx context.Context, ticket *offloader.Ticket) *caller {
	ctx, leave := context.WithCancelCause(ctx)
	c := &caller{s: s, came: time.Now(), done: make(chan struct{}), leave: leave}
	go func() {
		defer close(c.done)
		if ticket == nil {
			c.permit, c.err = s.pool.Acquire(ctx)
		} else {
			c.permit, c.err = ticket.Acquire(ctx)
		}
		c.after = time.Since(c.came)
	}()
	synctest.Wait()
	s.came = append(s.came, c)
	return c
}

// arrivals lets n callers come one after the other.
func (s *stage) arrivals(n int) []*caller {
	all := make([]*caller, n)
	for i := range all {
		all[i] = s.arrive()
	}
	return all
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// at lets time pass until d after the beginning.
func (s *stage) at(d time.Duration) { s.pass(d - time.Since(s.began)) }

// state names the state of a caller.
func (c *caller) state() string {
	select {
	case <-c.done:
	default:
		return "waiting"
	}
	return word(c.err)
}

// word names an error of Acquire.
func word(err error) string {
	var rejected *offloader.RejectedError
	switch {
	case err == nil:
		return "admitted"
	case errors.As(err, &rejected):
		return rejected.Reason.String()
	case errors.Is(err, errLeft), errors.Is(err, context.Canceled):
		return "left"
	}
	return err.Error()
}

// release ends a caller's run and lets everything settle.
func (c *caller) release(o offloader.Outcome) {
	c.s.t.Helper()
	if got := c.state(); got != "admitted" {
		c.s.t.Fatalf("a caller who is to end its run is %s", got)
	}
	c.finished = true
	c.permit.Release(o)
	synctest.Wait()
}

// run lets one caller come, run for d and end.
func (s *stage) run(d time.Duration, o offloader.Outcome) {
	s.t.Helper()
	c := s.arrive()
	s.pass(d)
	c.release(o)
}

// learn ends runs of length d, so that the pool predicts it. The first round does not count.
func (s *stage) learn(d time.Duration) {
	s.t.Helper()
	s.run(0, offloader.Success)
	s.run(d, offloader.Success)
}

// want compares the results of the callers.
func (s *stage) want(callers []*caller, want string) {
	s.t.Helper()
	got := make([]string, len(callers))
	for i, c := range callers {
		got[i] = c.state()
	}
	if text := strings.Join(got, " "); text != want {
		s.t.Errorf("%s in: the callers are\n     %s\nwant %s", time.Since(s.began), text, want)
	}
}

// wantAnswer checks a caller's answer and how long that took.
func (c *caller) wantAnswer(state string, after time.Duration) {
	c.s.t.Helper()
	if got := c.state(); got != state || (got != "waiting" && c.after != after) {
		c.s.t.Errorf("the caller is %s after %s, want %s after %s", got, c.after, state, after)
	}
}

// finish ends all runs that go on, also those that begin because of it, and
// cancels the waiters.
func (s *stage) finish() {
	for again := true; again; {
		again = false
		for _, c := range s.came {
			if c.state() == "admitted" && !c.finished {
				c.finished, again = true, true
				c.permit.Release(offloader.Excluded)
				synctest.Wait()
			}
		}
	}
	for _, c := range s.came {
		c.leave(errLeft)
	}
	synctest.Wait()
}

// gauges are the pool's numbers of this moment, in short.
func (s *stage) gauges() string {
	n := s.pool.Snapshot()
	return fmt.Sprintf("%d of %d running, %d waiting", n.Running, n.Limit, n.Waiting)
}

func (s *stage) wantGauges(want string) {
	s.t.Helper()
	if got := s.gauges(); got != want {
		s.t.Errorf("%s in: %s, want %s", time.Since(s.began), got, want)
	}
}
