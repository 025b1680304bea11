package offloader_test

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func (s *stage) wantPhase(want string) {
	s.t.Helper()
	if got := s.pool.Snapshot().Phase.String(); got != want {
		s.t.Errorf("%s in: the pool is %s, want %s", time.Since(s.began), got, want)
	}
}

func (s *stage) resume() {
	s.pool.Resume()
	s.pass(0)
}

func TestPause(t *testing.T) {
	t.Parallel()
	play(t, "newcomers wait although permits are free", nil, func(s *stage) {
		s.pool.Pause()
		s.wantPhase("paused")
		all := s.arrivals(2)
		s.want(all, "waiting waiting")
		if _, err := s.pool.TryAcquire(); word(err) != "queue_full" {
			s.t.Errorf("who does not wait got %v", err)
		}
		s.resume()
		s.wantPhase("open")
		s.want(all, "admitted waiting")
	})
	play(t, "runs go on, and what they give back is kept", nil, func(s *stage) {
		all := s.arrivals(2)
		s.pool.Pause()
		s.wantGauges("1 of 1 running, 1 waiting")
		all[0].release(offloader.Success)
		s.want(all, "admitted waiting")
		s.wantGauges("0 of 1 running, 1 waiting")
	})
	play(t, "the queue is as long as ever", func(s *offloader.Settings) { s.Queue = 1 }, func(s *stage) {
		s.pool.Pause()
		s.want(s.arrivals(2), "waiting queue_full")
	})
	play(t, "where nobody waits, nobody comes in", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		s.pool.Pause()
		s.want(s.arrivals(1), "queue_full")
	})
	play(t, "the longest wait goes on counting", sixteenSeconds, func(s *stage) {
		s.pool.Pause()
		c := s.arrive()
		s.pass(16 * second)
		c.wantAnswer("wait_timeout", 16*second)
	})
	play(t, "waiters may leave", nil, func(s *stage) {
		s.pool.Pause()
		c := s.arrive()
		c.leave(errLeft)
		s.pass(0)
		s.want([]*caller{c}, "left")
	})
	play(t, "more permits are for later", nil, func(s *stage) {
		s.pool.Pause()
		all := s.arrivals(3)
		s.configure(func(s *offloader.Settings) { s.Concurrency = 2 })
		s.want(all, "waiting waiting waiting")
		s.resume()
		s.want(all, "admitted admitted waiting")
	})
	play(t, "a breaker that trips rejects the waiters", func(s *offloader.Settings) {
		s.Breaker = inARow(1)
	}, func(s *stage) {
		run := s.arrive()
		s.pool.Pause()
		waiter := s.arrive()
		run.release(offloader.Failure)
		s.want([]*caller{waiter}, "breaker_open")
	})
}

// The last change of a pool's phase counts, and only the end is final.
func TestPhasesFollowEachOther(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then       func(s *stage)
		phase      string
		waiter     string // came during the pause
		afterwards string // comes now
	}{
		"a pause, twice":  {func(s *stage) { s.pool.Pause() }, "paused", "waiting", "waiting"},
		"a pause, resume": {func(s *stage) { s.pool.Resume() }, "open", "admitted", "waiting"},
		"a pause, drain":  {func(s *stage) { s.drain() }, "draining", "admitted", "draining"},
		"a pause, close":  {func(s *stage) { s.close() }, "closed", "closed", "closed"},
		"a pause, drain, pause": {func(s *stage) {
			s.drain()
			s.pool.Pause()
		}, "paused", "admitted", "waiting"},
		"a pause, close, resume": {func(s *stage) {
			s.close()
			s.pool.Resume()
		}, "closed", "closed", "closed"},
		"a pause, close, pause": {func(s *stage) {
			s.close()
			s.pool.Pause()
		}, "closed", "closed", "closed"},
	} {
		play(t, name, nil, func(s *stage) {
			s.pool.Pause()
			waiter := s.arrive()
			test.then(s)
			s.wantPhase(test.phase)
			s.want([]*caller{waiter, s.arrive()}, test.waiter+" "+test.afterwards)
		})
	}
	play(t, "a drain of a paused pool ends when its waiters have run", nil, func(s *stage) {
		s.pool.Pause()
		waiter := s.arrive()
		drained := s.drain()
		s.wantNotEnded(drained)
		waiter.release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
	play(t, "a drain that goes on while the pool is paused waits for the newcomers too", nil, func(s *stage) {
		run := s.arrive()
		drained := s.drain()
		s.pool.Pause()
		waiter := s.arrive()
		run.release(offloader.Success)
		s.wantNotEnded(drained)
		waiter.leave(errLeft)
		s.wantEndedWith(drained, nil)
	})
}

// named is a caller without a client.
type named string

func (named) Client() offloader.Client { return offloader.Client{} }

// Tickets report the queue that a waiter found, and list the waiter.
func TestPlaces(t *testing.T) {
	t.Parallel()
	at := func(s *stage, owner string) (*offloader.Ticket, *caller) {
		ticket := &offloader.Ticket{Pool: s.pool, Caller: named(owner)}
		return ticket, s.arriveAt(context.Background(), ticket)
	}
	owners := func(s *stage) (all []string) {
		for _, w := range s.pool.Waiters() {
			all = append(all, string(w.Ticket.Caller.(named)))
		}
		return all
	}
	play(t, "say how many are ahead and how long that takes", nil, func(s *stage) {
		s.run(4*second, offloader.Success)
		running, c := at(s, "running")
		s.want([]*caller{c}, "admitted")
		first, _ := at(s, "first")
		s.pass(second)
		second_, _ := at(s, "second")
		for _, test := range []struct {
			ticket *offloader.Ticket
			ahead  int
			wait   time.Duration
		}{{running, 0, 0}, {first, 0, 4 * second}, {second_, 1, 8 * second}} {
			if got, wait := test.ticket.Ahead(), test.ticket.PredictedWait(); got != test.ahead || wait != test.wait {
				s.t.Errorf("%s found %d ahead and a wait of %s", test.ticket.Caller, got, wait)
			}
		}
		if got := owners(s); len(got) != 2 || got[0] != "first" || got[1] != "second" {
			s.t.Errorf("waiting: %v", got)
		}
		if got := s.pool.Waiters()[0].Waited; got != second {
			s.t.Errorf("the first has waited for %s", got)
		}
		if got, want := s.pool.Gauges(), (offloader.Gauges{
			Running: 1, Limit: 1, Waiting: 2, QueueLimit: 10, PredictedWait: 12 * second,
		}); got != want {
			s.t.Errorf("gauges are %+v, want %+v", got, want)
		}
	})
	play(t, "whoever finds a permit has nobody ahead", nil, func(s *stage) {
		s.run(4*second, offloader.Success)
		if got, want := s.pool.Gauges(), (offloader.Gauges{Limit: 1, QueueLimit: 10}); got != want {
			s.t.Errorf("gauges are %+v, want %+v", got, want)
		}
	})
	play(t, "a long queue is listed with the newest first", func(s *offloader.Settings) {
		s.MaxWait = 16 * second
	}, func(s *stage) {
		s.learn(2 * second)
		s.arrive() // runs
		for _, name := range []string{"a", "b", "c", "d"} {
			at(s, name)
		}
		// Two of them fit into a quarter of the longest wait.
		if got := owners(s); len(got) != 4 || got[0] != "d" || got[1] != "c" || got[2] != "a" || got[3] != "b" {
			s.t.Errorf("waiting: %v", got)
		}
		newest, _ := at(s, "e")
		if newest.Ahead() != 0 || newest.PredictedWait() != 2*second {
			s.t.Errorf("the newest found %d ahead and a wait of %s", newest.Ahead(), newest.PredictedWait())
		}
	})
	play(t, "whoever has none is listed without", nil, func(s *stage) {
		s.arrivals(2)
		if got := s.pool.Waiters(); len(got) != 1 || got[0].Ticket != nil {
			s.t.Errorf("waiting: %v", got)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	play(t, "rejects one waiter, and no other", nil, func(s *stage) {
		run := s.arrive()
		ticket := &offloader.Ticket{Pool: s.pool}
		waiters := []*caller{s.arriveAt(context.Background(), ticket), s.arrive()}
		if !ticket.Cancel() || ticket.Cancel() {
			s.t.Error("cancelled not once")
		}
		s.pass(0)
		s.want(waiters, "cancelled waiting")
		run.release(offloader.Success)
		s.want(waiters, "cancelled admitted")
		if got := s.pool.Snapshot().Rejected[offloader.Cancelled]; got != 1 {
			s.t.Errorf("counted %d", got)
		}
	})
	play(t, "does nothing to whoever runs", nil, func(s *stage) {
		ticket := &offloader.Ticket{Pool: s.pool}
		run := s.arriveAt(context.Background(), ticket)
		if ticket.Cancel() {
			s.t.Error("cancelled one who runs")
		}
		s.want([]*caller{run}, "admitted")
	})
	play(t, "lets a drain end", nil, func(s *stage) {
		run := s.arrive()
		ticket := &offloader.Ticket{Pool: s.pool}
		s.arriveAt(context.Background(), ticket)
		drained := s.drain()
		s.pool.Pause()
		run.release(offloader.Success)
		s.wantNotEnded(drained)
		ticket.Cancel()
		s.wantEndedWith(drained, nil)
	})
}
