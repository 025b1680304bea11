package offloader_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestCallersThatLeave(t *testing.T) {
	t.Parallel()
	play(t, "a waiter that leaves frees its place at once", func(s *offloader.Settings) {
		s.Queue = 2
	}, func(s *stage) {
		all := s.arrivals(4)
		s.want(all, "admitted waiting waiting queue_full")
		all[1].leave(errLeft)
		synctest.Wait()
		s.wantGauges("1 of 1 running, 1 waiting")
		all = append(all, s.arrive())
		s.want(all, "admitted left waiting queue_full waiting")
		all[0].release(offloader.Success)
		s.want(all, "admitted left admitted queue_full waiting")
	})
	for name, i := range map[string]int{"first": 1, "middle": 2, "last": 3} {
		play(t, "the others keep their order when the "+name+" leaves", nil, func(s *stage) {
			all := s.arrivals(4)
			all[i].leave(errLeft)
			synctest.Wait()
			all = append(all, s.arrive())
			for j, c := range all {
				if j == i {
					continue
				}
				c.wantAnswer("admitted", c.after)
				c.release(offloader.Success)
			}
		})
	}
	play(t, "the error is the context's cause", nil, func(s *stage) {
		s.arrive()
		waiter := s.arrive()
		waiter.leave(errLeft)
		synctest.Wait()
		if !errors.Is(waiter.err, errLeft) || errors.Is(waiter.err, context.Canceled) {
			s.t.Errorf("error: %v", waiter.err)
		}
	})
	play(t, "who has left already is not admitted", nil, func(s *stage) {
		_, err := s.pool.Acquire(ended(errLeft))
		if got := s.pool.Snapshot(); !errors.Is(err, errLeft) || got.Left != 1 || got.Admitted != 0 {
			s.t.Errorf("error: %v, snapshot: %+v", err, got)
		}
	})
	play(t, "the newest may leave a line that is served newest first", sixteenSeconds, func(s *stage) {
		holder := busy(s)
		six := s.arrivals(6)
		six[5].leave(errLeft)
		synctest.Wait()
		s.pass(second)
		holder.release(offloader.Success)
		s.want(six, "waiting waiting waiting waiting admitted left")
	})
}

func TestDeadlinesOfCallers(t *testing.T) {
	t.Parallel()
	within := func(s *stage, d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		s.t.Cleanup(cancel)
		return ctx
	}
	play(t, "a deadline that passes in the queue is a wait timeout", sixteenSeconds, func(s *stage) {
		s.arrive()
		waiter := s.arriveWith(within(s, second))
		s.pass(second - 1)
		waiter.wantAnswer("waiting", 0)
		s.pass(1)
		waiter.wantAnswer("wait_timeout", second)
		s.wantGauges("1 of 1 running, 0 waiting")
	})
	play(t, "a deadline that has passed is a wait timeout", nil, func(s *stage) {
		ctx := within(s, second)
		s.pass(second)
		s.arriveWith(ctx).wantAnswer("wait_timeout", 0)
	})
	play(t, "nothing starts after its deadline even if nobody noticed yet", nil, func(s *stage) {
		holder := s.arrive()
		late := s.arriveWith(&unnoticed{Context: context.Background(), at: time.Now().Add(second)})
		next := s.arrive()
		s.pass(second)
		holder.release(offloader.Success)
		s.want([]*caller{late, next}, "wait_timeout admitted")
	})
	play(t, "a run may start just before its deadline", nil, func(s *stage) {
		holder := s.arrive()
		waiter := s.arriveWith(&unnoticed{Context: context.Background(), at: time.Now().Add(second)})
		s.pass(second - 1)
		holder.release(offloader.Success)
		waiter.wantAnswer("admitted", second-1)
	})
	play(t, "a deadline before the pool was made counts", nil, func(s *stage) {
		holder := s.arrive()
		waiter := s.arriveWith(&unnoticed{Context: context.Background(), at: time.Now().Add(-time.Hour)})
		s.pass(1)
		holder.release(offloader.Success)
		waiter.wantAnswer("wait_timeout", 1)
	})
}

// unnoticed is a context whose deadline has passed before its timer has fired, as happens
// on a busy machine.
type unnoticed struct {
	context.Context
	at time.Time
}

func (u *unnoticed) Deadline() (time.Time, bool) { return u.at, true }

// A permit that is handed to a caller at the moment in which it leaves goes to the next
// one, whichever event was first.
func TestPermitsOfCallersWhoLeaveAreNotLost(t *testing.T) {
	t.Parallel()
	for _, leavesFirst := range []bool{true, false} {
		name := "handed over first"
		if leavesFirst {
			name = "left first"
		}
		play(t, name, nil, func(s *stage) {
			left := 0
			for range 50 {
				left += leaveDuringHandOver(s, leavesFirst)
			}
			if left == 0 {
				s.t.Error("nobody who left in that moment has left")
			}
		})
	}
	play(t, "with threads", func(s *offloader.Settings) {
		s.Concurrency, s.Queue = 2, 8
	}, func(s *stage) {
		for seed := range uint64(300) {
			leaveAndHandOver(s, seed)
			if got := s.gauges(); got != "0 of 2 running, 0 waiting" {
				s.t.Fatalf("seed %d: %s", seed, got)
			}
		}
	})
}

// leaveDuringHandOver lets a caller leave while a permit is handed to it, and
// returns one if it has left. Neither lets it run in between, unless there is
// another thread for it: then it may be admitted.
func leaveDuringHandOver(s *stage, leavesFirst bool) (left int) {
	all := s.arrivals(3)
	if leavesFirst {
		all[1].leave(errLeft)
		all[0].permit.Release(offloader.Success)
	} else {
		all[0].permit.Release(offloader.Success)
		all[1].leave(errLeft)
	}
	synctest.Wait()
	switch got := all[1].state(); got {
	case "admitted":
		all[1].release(offloader.Success)
	case "left":
		left++
	default:
		s.t.Errorf("the caller is %s", got)
	}
	s.want(all[2:], "admitted")
	s.finish()
	return left
}

// leaveAndHandOver lets callers leave while permits are handed to them.
func leaveAndHandOver(s *stage, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	var all sync.WaitGroup
	for range 10 {
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Duration(1+rnd.IntN(4)), errLeft)
		run := time.Duration(rnd.IntN(4))
		all.Go(func() {
			defer cancel()
			permit, err := s.pool.Acquire(ctx)
			if err != nil {
				return
			}
			if run > 0 {
				<-time.After(run)
			}
			permit.Release(offloader.Success)
		})
	}
	all.Wait()
}
