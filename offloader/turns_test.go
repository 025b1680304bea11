package offloader_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// guest is a caller with an address.
type guest offloader.Client

func (g guest) Client() offloader.Client { return offloader.Client(g) }

func guestFrom(address byte, connection uint16) guest {
	return guest{Address: [16]byte{address}, Connection: connection}
}

// visit is one try of a client.
type visit struct {
	*caller
	ticket *offloader.Ticket
}

func (s *stage) visit(g guest) visit {
	ticket := &offloader.Ticket{Pool: s.pool, Caller: g}
	return visit{s.arriveAt(context.Background(), ticket), ticket}
}

// told is when a rejected client should come back that knows whole seconds only.
func (v visit) told() time.Duration {
	v.s.t.Helper()
	return whole(v.advised())
}

// advised is the advice to a rejected client.
func (v visit) advised() offloader.Retry {
	v.s.t.Helper()
	rejected := v.rejected()
	if rejected == nil {
		v.s.t.Fatalf("a client that was to be refused is %s", v.state())
	}
	return v.ticket.NextRetry(rejected.Reason)
}

func whole(r offloader.Retry) time.Duration { return time.Duration(r.Seconds) * time.Second }

func (c *caller) rejected() *offloader.RejectedError {
	if c.state() == "waiting" {
		return nil
	}
	rejected, _ := errors.AsType[*offloader.RejectedError](c.err)
	return rejected
}

// fullHouse is a pool with one permit, whose runs take two seconds, and two waiters, all
// of which are taken.
func fullHouse(s *stage) (running *caller, waiting []*caller) {
	s.learn(2 * second)
	running = s.arrive()
	return running, s.arrivals(2)
}

func twoPlaces(s *offloader.Settings) { s.Queue, s.MaxWait = 2, time.Minute }

func TestTurns(t *testing.T) {
	t.Parallel()
	play(t, "a client that comes back at its turn waits before all others", twoPlaces, func(s *stage) {
		running, waiting := fullHouse(s)
		s.pass(second)
		told := s.visit(guestFrom(1, 1)).told()
		s.wantAround(told, 5*second)
		s.pass(told)
		back := s.visit(guestFrom(1, 2))
		s.want(append(waiting, back.caller), "waiting queue_full waiting")
		running.release(offloader.Success)
		s.want([]*caller{waiting[0], back.caller}, "waiting admitted")
	})
	play(t, "and later than that, up to a minute", twoPlaces, func(s *stage) {
		fullHouse(s)
		first, second_ := s.visit(guestFrom(1, 1)).told(), s.visit(guestFrom(2, 1)).told()
		s.pass(first + 59*second)
		s.arrivals(2) // the others have waited for too long
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller}, "waiting")
		s.pass(second_ - first + 2*second)
		s.want([]*caller{s.visit(guestFrom(2, 1)).caller}, "queue_full")
	})
	play(t, "a client that comes back early has no other turn, and no better one", twoPlaces, func(s *stage) {
		fullHouse(s)
		told := s.visit(guestFrom(1, 1)).told()
		for i := range int(told/second) - 1 {
			s.pass(second)
			if got, want := s.visit(guestFrom(1, uint16(i))).told(), told-time.Duration(i+1)*second; got != want {
				s.t.Errorf("told %s, and a second later %s", want+second, got)
			}
		}
		s.pass(second)
		s.want([]*caller{s.visit(guestFrom(1, 9)).caller}, "waiting")
	})
	play(t, "a client that does not wait for its turn does not get it", twoPlaces, func(s *stage) {
		fullHouse(s)
		s.visit(guestFrom(1, 1)).told()
		for range 200 { // far beyond its turn
			s.pass(100 * time.Millisecond)
			if told := s.visit(guestFrom(1, 1)).told(); told > 8*second {
				s.t.Errorf("told %s", told)
			}
		}
		s.pass(second) // once is enough
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller}, "waiting")
	})
	play(t, "a client with a turn to come does not take that of another one at its address", twoPlaces, func(s *stage) {
		fullHouse(s)
		one, other := s.visit(guestFrom(1, 1)), s.visit(guestFrom(1, 2))
		first, second_ := one.told(), other.told()
		if second_ <= first {
			first, second_ = second_, first
		}
		s.pass(first)
		states := map[string]int{}
		for connection := range uint16(2) {
			states[s.visit(guestFrom(1, connection+1)).state()]++
		}
		if second_ > first && (states["waiting"] != 1 || states["queue_full"] != 1) {
			s.t.Errorf("told %s and %s, the two are %v", first, second_, states)
		}
	})
	play(t, "an impatient client counts once", twoPlaces, func(s *stage) {
		fullHouse(s)
		s.visit(guestFrom(1, 1)).told()
		for i := range 40 {
			s.pass(10 * time.Millisecond)
			s.visit(guestFrom(1, uint16(i))).told()
		}
		// Of the eight seconds 0.4 of the run are over, and as many of the line.
		s.wantAround(s.visit(guestFrom(2, 1)).told(), 7200*time.Millisecond)
	})
	play(t, "clients behind one address have turns of their own", twoPlaces, func(s *stage) {
		fullHouse(s)
		var all []visit
		for i := range 4 {
			all = append(all, s.visit(guestFrom(1, uint16(i))))
		}
		for i, v := range all {
			s.wantAround(v.told(), time.Duration(3+i)*2*second)
		}
	})
	play(t, "a turn is used once", twoPlaces, func(s *stage) {
		fullHouse(s)
		s.pass(s.visit(guestFrom(1, 1)).told())
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller, s.visit(guestFrom(1, 1)).caller}, "waiting queue_full")
	})
	play(t, "a client that gets a permit before its turn does not need it", twoPlaces, func(s *stage) {
		running, waiting := fullHouse(s)
		told := s.visit(guestFrom(1, 1)).told()
		running.release(offloader.Success)
		for _, c := range waiting {
			c.release(offloader.Success)
		}
		early := s.visit(guestFrom(1, 1))
		s.want([]*caller{early.caller}, "admitted")
		s.arrivals(2)
		s.pass(told)
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller}, "queue_full")
	})
	play(t, "where all waiters came at their turns, the next one keeps its own", twoPlaces, func(s *stage) {
		fullHouse(s)
		var last time.Duration
		for i := range byte(3) {
			last = max(last, s.visit(guestFrom(i+1, 1)).told())
		}
		s.pass(last)
		s.visit(guestFrom(1, 1))
		s.visit(guestFrom(2, 1))
		third := s.visit(guestFrom(3, 1))
		told := third.told()
		s.wantAround(told, 6*second) // behind the two, not behind a line
		s.pass(told)
		s.want([]*caller{s.visit(guestFrom(3, 1)).caller}, "queue_full")
	})
	play(t, "a client that has waited at its turn in vain keeps it", func(s *offloader.Settings) {
		s.Queue, s.MaxWait, s.Order = 2, 4*second, offloader.OrderFIFO
	}, func(s *stage) {
		running, _ := fullHouse(s)
		s.pass(s.visit(guestFrom(1, 1)).told())
		back := s.visit(guestFrom(1, 1))
		s.pass(4 * second)
		s.wantAround(back.told(), 2*second)
		s.pass(3 * second)
		s.arrivals(2)
		again := s.visit(guestFrom(1, 1))
		running.release(offloader.Success)
		s.want([]*caller{again.caller}, "admitted")
	})
	play(t, "a pool says that there is room for a client at its turn", twoPlaces, func(s *stage) {
		fullHouse(s)
		s.pass(s.visit(guestFrom(1, 1)).told())
		for address, want := range map[byte]string{1: "admitted", 2: "queue_full"} {
			if got := word(s.check(guestFrom(address, 1))); got != want {
				s.t.Errorf("the check of client %d says %s, want %s", address, got, want)
			}
		}
	})
	play(t, "waiters are listed with those at their turns first", twoPlaces, func(s *stage) {
		fullHouse(s)
		s.pass(s.visit(guestFrom(1, 1)).told())
		back := s.visit(guestFrom(1, 1))
		if got := s.pool.Waiters(); len(got) != 2 || got[0].Ticket != back.ticket {
			s.t.Errorf("waiting: %v", got)
		}
		if got := back.ticket.Ahead(); got != 0 {
			s.t.Errorf("%d ahead", got)
		}
		if !back.ticket.Cancel() {
			s.t.Error("not cancelled")
		}
		s.pass(0)
		s.want([]*caller{back.caller}, "cancelled")
	})
	play(t, "without places no turn can be waited for", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		running := s.arrive()
		s.pass(second)
		s.pass(s.visit(guestFrom(1, 1)).told())
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller}, "queue_full")
		running.release(offloader.Success)
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller}, "admitted")
	})
}

// Each client that was rejected has a separate moment, at which a permit is free for it,
// even without a place to wait.
func TestTurnsOfClientsThatWereRejectedTogether(t *testing.T) {
	t.Parallel()
	play(t, "come one after the other", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		const clients = 40
		s.learn(200 * time.Millisecond)
		running := s.arrive()
		var all []time.Duration
		came := map[time.Duration]guest{}
		for n := range byte(clients) {
			g := guestFrom(n+1, 1)
			r := s.visit(g).advised()
			if r.Turn < second || r.Turn > whole(r) {
				s.t.Errorf("advised to come back in %+v", r)
			}
			all, came[r.Turn] = append(all, r.Turn), g
		}
		running.release(offloader.Success)
		slices.Sort(all)
		if last := all[clients-1]; last > 11*second {
			s.t.Errorf("the last one is to come after %s", last)
		}
		refused := time.Since(s.began)
		for _, turn := range all {
			s.at(refused + turn)
			v := s.visit(came[turn])
			s.want([]*caller{v.caller}, "admitted")
			s.came = s.came[:0] // they end by themselves
			time.AfterFunc(200*time.Millisecond, func() { v.permit.Release(offloader.Success) })
		}
		s.pass(second)
	})
	play(t, "are kept for clients that know whole seconds only", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		s.learn(200 * time.Millisecond)
		running := s.arrive()
		one, other := s.visit(guestFrom(1, 1)).advised(), s.visit(guestFrom(2, 1)).advised()
		running.release(offloader.Success)
		if one.Turn >= other.Turn || one.Seconds >= other.Seconds || other.Turn > 2*second {
			s.t.Errorf("advised %+v and %+v: want turns in the same second, and seconds apart", one, other)
		}
		s.pass(whole(other) + 59*second)
		taken := s.visit(guestFrom(9, 1))
		s.want([]*caller{taken.caller}, "admitted")
		back := s.visit(guestFrom(2, 1))
		s.want([]*caller{back.caller}, "queue_full") // its turn: told of the next free permit
		if r := back.advised(); r.Turn > 1300*time.Millisecond {
			s.t.Errorf("advised %+v", r)
		}
	})
}

// Predictions use the current runs while no run has ended.
func TestRetryAfterLongRuns(t *testing.T) {
	t.Parallel()
	play(t, "a pool that has not finished a run goes by the age of those that run", func(s *offloader.Settings) {
		s.Concurrency, s.Queue = 2, 0
	}, func(s *stage) {
		s.arrivals(2)
		for range 4 {
			s.pass(5 * second)
			age := time.Since(s.began)
			s.wantAround(s.visit(guestFrom(byte(age/second), 1)).told(), age)
		}
	})
	play(t, "one long run is about to end", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		s.learn(25 * second)
		s.arrive()
		s.pass(15 * second)
		s.wantAround(s.visit(guestFrom(1, 1)).told(), 10*second)
	})
	play(t, "a run that takes longer than usual may take as long again", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		s.learn(second)
		s.arrive()
		s.pass(20 * second)
		s.wantAround(s.visit(guestFrom(1, 1)).told(), 20*second)
	})
}
