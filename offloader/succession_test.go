package offloader_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// arriveIn lets a caller come to another pool than the stage's.
func (s *stage) arriveIn(p *offloader.Pool, ticket *offloader.Ticket) *caller {
	was := s.pool
	s.pool = p
	defer func() { s.pool = was }()
	return s.arriveAt(context.Background(), ticket)
}

// heir opens a pool that succeeds another one.
func (s *stage) heir(elder *offloader.Pool, concurrency int) *offloader.Pool {
	s.t.Helper()
	p := s.open(offloader.Settings{Concurrency: concurrency, Queue: 10})
	succeed(s.t, p, elder).Bind()
	return p
}

func succeed(t *testing.T, heir, elder *offloader.Pool) *offloader.Succession {
	t.Helper()
	s := heir.Succeed(elder)
	if s == nil {
		t.Fatal("no succession")
	}
	return s
}

// wantLimit checks the limit of a pool and the part that its predecessors hold.
func (s *stage) wantLimit(p *offloader.Pool, limit, lent int) {
	s.t.Helper()
	if got := p.Snapshot(); got.Limit != limit || got.Lent != lent {
		s.t.Errorf("%s in: limit %d with %d lent, want %d with %d", time.Since(s.began), got.Limit, got.Lent, limit, lent)
	}
}

func two(s *offloader.Settings) { s.Concurrency = 2 }

func TestSuccession(t *testing.T) {
	t.Parallel()
	play(t, "the limit is lower by what runs in the old pool, and rises as that ends", two, func(s *stage) {
		old := s.arrivals(2)
		heir := s.heir(s.pool, 2)
		s.wantLimit(heir, 0, 2)
		next := []*caller{s.arriveIn(heir, nil), s.arriveIn(heir, nil)}
		s.want(next, "waiting waiting")
		old[0].release(offloader.Success)
		s.want(next, "admitted waiting")
		s.wantLimit(heir, 1, 1)
		old[1].release(offloader.Success)
		s.want(next, "admitted admitted")
		s.wantLimit(heir, 2, 0)
	})
	play(t, "the old pool's waiters come first", two, func(s *stage) {
		old := s.arrivals(3)
		heir := s.heir(s.pool, 2)
		next := s.arriveIn(heir, nil)
		old[0].release(offloader.Success)
		s.want([]*caller{old[2], next}, "admitted waiting")
		s.wantLimit(heir, 0, 2)
		old[1].release(offloader.Success)
		s.want([]*caller{next}, "admitted")
	})
	play(t, "an upload of the old pool gets the next permit", two, func(s *stage) {
		upload := s.upload()
		heir := s.heir(s.pool, 2)
		s.wantLimit(heir, 2, 0)
		next := []*caller{s.arriveIn(heir, nil), s.arriveIn(heir, nil), s.arriveIn(heir, nil)}
		old := s.arriveAfter(upload)
		s.want([]*caller{old}, "waiting")
		s.want(next, "admitted admitted waiting")
		next[0].release(offloader.Success)
		s.want([]*caller{old, next[2]}, "admitted waiting")
		s.wantLimit(heir, 1, 1)
		old.release(offloader.Success)
		s.want([]*caller{next[2]}, "admitted")
		s.wantLimit(heir, 2, 0)
	})
	play(t, "a late request of the old pool is served", nil, func(s *stage) {
		heir := s.heir(s.pool, 1)
		late := s.arrive()
		s.want([]*caller{late, s.arriveIn(heir, nil)}, "admitted waiting")
	})
	play(t, "without a place to wait it is rejected, as it would be by one pool", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		heir := s.heir(s.pool, 1)
		next := s.arriveIn(heir, nil)
		s.want([]*caller{s.arrive()}, "queue_full")
		next.release(offloader.Success)
		s.want([]*caller{s.arriveIn(heir, nil)}, "admitted")
	})
	play(t, "one that leaves the old queue leaves the permit to others", nil, func(s *stage) {
		heir := s.heir(s.pool, 1)
		next := []*caller{s.arriveIn(heir, nil), s.arriveIn(heir, nil)}
		old := s.arrive()
		old.leave(errLeft)
		synctest.Wait()
		next[0].release(offloader.Success)
		s.want([]*caller{old, next[1]}, "left admitted")
		s.wantLimit(heir, 1, 0)
	})
	play(t, "a lower limit holds for the old pool too", func(s *offloader.Settings) { s.Concurrency = 4 }, func(s *stage) {
		old := s.arrivals(6)
		heir := s.heir(s.pool, 2)
		s.wantLimit(heir, 0, 4)
		for _, c := range old[:2] {
			c.release(offloader.Success)
		}
		s.want(old[4:], "waiting waiting")
		old[2].release(offloader.Success)
		s.want(old[4:], "admitted waiting")
		s.wantLimit(heir, 0, 2)
	})
	play(t, "a lower limit that is lifted again serves the old queue", func(s *offloader.Settings) { s.Concurrency = 4 }, func(s *stage) {
		old := s.arrivals(6)
		heir := s.heir(s.pool, 1)
		old[0].release(offloader.Success)
		s.want(old[4:], "waiting waiting")
		if err := heir.Configure(offloader.Settings{Concurrency: 5, Queue: 10}); err != nil {
			s.t.Fatal(err)
		}
		synctest.Wait()
		s.want(old[4:], "admitted waiting")
		s.wantLimit(heir, 1, 4)
	})
	play(t, "no limit stays none", two, func(s *stage) {
		s.arrivals(2)
		heir := s.heir(s.pool, 0)
		s.wantLimit(heir, 0, 2)
		s.want([]*caller{s.arriveIn(heir, nil)}, "admitted")
	})
	play(t, "an old pool that is forgotten still keeps within the limit", nil, func(s *stage) {
		heir := s.open(offloader.Settings{Concurrency: 1, Queue: 10})
		succession := succeed(s.t, heir, s.pool)
		succession.Bind()
		succession.Forget()
		next := s.arriveIn(heir, nil)
		late := s.arrive()
		s.want([]*caller{next, late}, "admitted waiting")
		if got := heir.Snapshot().Predecessors; got != 0 {
			s.t.Errorf("%d in flight in predecessors", got)
		}
		next.release(offloader.Success)
		s.want([]*caller{late}, "admitted")
	})
	play(t, "a drain of the new pool waits for the old one", nil, func(s *stage) {
		upload := s.upload()
		heir := s.heir(s.pool, 1)
		drained := s.end(context.Background(), heir.Drain)
		if got := heir.Snapshot().Predecessors; got != 1 {
			s.t.Errorf("%d in flight in predecessors", got)
		}
		s.wantNotEnded(drained)
		run := s.arriveAfter(upload)
		s.wantNotEnded(drained)
		run.release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
}

// Before it binds, and after it is undone, the old pool is served as if there were no
// other.
func TestSuccessionThatComesToNothing(t *testing.T) {
	t.Parallel()
	play(t, "unbound", two, func(s *stage) {
		old := s.arrivals(1)
		heir := s.open(offloader.Settings{Concurrency: 1, Queue: 10})
		succession := succeed(s.t, heir, s.pool)
		s.wantLimit(heir, 0, 1)
		old = append(old, s.arrivals(2)...)
		s.want(old, "admitted admitted waiting")
		s.wantLimit(heir, 0, 2)
		old[0].release(offloader.Success)
		s.want(old[2:], "admitted")
		succession.Undo()
		s.wantLimit(heir, 1, 0)
		old[1].release(offloader.Success)
		s.want(s.arrivals(2), "admitted waiting")
		s.want([]*caller{s.arriveIn(heir, nil)}, "admitted")
		s.wantLimit(heir, 1, 0)
	})
	play(t, "undone while the old pool asks", nil, func(s *stage) {
		heir := s.open(offloader.Settings{Concurrency: 1, Queue: 10})
		succession := succeed(s.t, heir, s.pool)
		succession.Bind()
		s.arriveIn(heir, nil)
		old := s.arrivals(1)
		s.want(old, "waiting")
		succession.Undo()
		succession.Undo()
		synctest.Wait()
		s.want(old, "admitted")
		s.wantLimit(heir, 1, 0)
	})
	play(t, "neither twice nor in a circle", nil, func(s *stage) {
		heir := s.heir(s.pool, 1)
		last := s.heir(heir, 1)
		for _, of := range [][2]*offloader.Pool{{last, s.pool}, {s.pool, last}, {s.pool, s.pool}} {
			if of[0].Succeed(of[1]) != nil {
				s.t.Error("succeeded")
			}
		}
	})
}

// Pools that are replaced one after the other share the limit of the last one.
func TestSuccessionOfSuccessors(t *testing.T) {
	t.Parallel()
	play(t, "a chain", two, func(s *stage) {
		first := s.arrivals(2)
		second := s.heir(s.pool, 2)
		waiter := s.arriveIn(second, nil)
		third := s.heir(second, 2)
		s.wantLimit(third, 0, 2)
		next := s.arriveIn(third, nil)
		first[0].release(offloader.Success)
		s.want([]*caller{waiter, next}, "admitted waiting")
		s.wantLimit(third, 0, 2)
		first[1].release(offloader.Success)
		s.want([]*caller{next}, "admitted")
		s.wantLimit(third, 1, 1)
		waiter.release(offloader.Success)
		s.wantLimit(third, 2, 0)
	})
	play(t, "the first asks the last", nil, func(s *stage) {
		second := s.heir(s.pool, 1)
		third := s.heir(second, 1)
		next := []*caller{s.arriveIn(third, nil), s.arriveIn(third, nil)}
		oldest := s.arrive()
		s.want([]*caller{oldest}, "waiting")
		next[0].release(offloader.Success)
		s.want([]*caller{oldest, next[1]}, "admitted waiting")
		oldest.release(offloader.Success)
		s.want(next[1:], "admitted")
		s.wantLimit(second, 1, 0)
		s.wantLimit(third, 1, 0)
	})
	play(t, "two become one", two, func(s *stage) {
		other := s.open(offloader.Settings{Concurrency: 2, Queue: 10})
		a, b := s.arrivals(2), s.arriveIn(other, nil)
		heir := s.heir(s.pool, 4)
		succeed(s.t, heir, other).Bind()
		s.wantLimit(heir, 1, 3)
		a[0].release(offloader.Success)
		b.release(offloader.Success)
		s.wantLimit(heir, 3, 1)
	})
}

// However many pools replace each other, all admitted calls are served, the
// backend never sees more than the limit, and all comes back.
func TestSuccessionUnderLoad(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { succeedUnderLoad(t, rand.New(rand.NewPCG(seed, 5))) })
	}
}

func succeedUnderLoad(t *testing.T, rnd *rand.Rand) {
	const limit = 4
	settings := offloader.Settings{Concurrency: limit, Queue: 1000}
	var pools []*offloader.Pool
	var all sync.WaitGroup
	var running, most atomic.Int64
	for range 6 {
		p, err := offloader.New("reports", settings)
		if err != nil {
			t.Fatal(err)
		}
		if len(pools) > 0 {
			succeed(t, p, pools[len(pools)-1]).Bind()
		}
		pools = append(pools, p)
		for range 100 {
			<-time.After(time.Duration(rnd.IntN(20)) * time.Millisecond)
			run, upload := time.Duration(rnd.IntN(60))*time.Millisecond, time.Duration(rnd.IntN(600))*time.Millisecond
			p := pools[max(0, len(pools)-1-rnd.IntN(6)/5)] // now and then to the one before
			all.Go(func() {
				ticket := offloader.Ticket{Pool: p}
				if err := ticket.Announce(); err != nil {
					t.Error(err)
					return
				}
				<-time.After(upload)
				permit, err := ticket.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for now := running.Add(1); ; {
					if was := most.Load(); now <= was || most.CompareAndSwap(was, now) {
						break
					}
				}
				<-time.After(run)
				running.Add(-1)
				permit.Release(offloader.Success)
			})
		}
	}
	all.Wait()
	if got := most.Load(); got != limit {
		t.Errorf("the backend saw %d runs at once, want up to %d", got, limit)
	}
	for _, p := range pools {
		wantIdle(t, p)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
