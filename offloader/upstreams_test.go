package offloader_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// byUpstream gives each upstream two permits, but a has one.
func byUpstream(s *offloader.Settings) {
	s.Concurrency, s.UpstreamConcurrency, s.ConcurrencyOf = 0, 2, map[string]int{"a": 1}
}

// report makes upstreams available, but those with a minus before their names.
func (s *stage) report(names ...string) {
	s.pool.ReportUpstreams(states(names))
	synctest.Wait()
}

func states(names []string) []offloader.UpstreamState {
	all := make([]offloader.UpstreamState, len(names))
	for i, name := range names {
		all[i] = offloader.UpstreamState{Name: name, Available: true}
		if name[0] == '-' {
			all[i] = offloader.UpstreamState{Name: name[1:]}
		}
	}
	return all
}

// bind binds a caller's run, without a wait.
func (c *caller) bind(choice offloader.UpstreamChoice) string {
	name, _ := c.permit.Bind(context.Background(), choice, 0)
	return name
}

// wantUpstreams compares the permits in use.
func (s *stage) wantUpstreams(want string) {
	s.t.Helper()
	got := ""
	for _, u := range s.pool.Snapshot().Upstreams {
		got += fmt.Sprintf("%s %d/%d ", u.Name, u.Running, u.Limit)
	}
	if got != want+" " {
		s.t.Errorf("upstreams are %swant %s", got, want)
	}
}

func TestUpstreams(t *testing.T) {
	t.Parallel()
	play(t, "the pool has the permits of all, and each keeps to its own", byUpstream, func(s *stage) {
		s.report("a", "b")
		all := s.arrivals(4)
		s.want(all, "admitted admitted admitted waiting")
		s.wantGauges("3 of 3 running, 1 waiting")
		s.wantUpstreams("a 1/1 b 2/2")
		at := []string{}
		for _, c := range all[:3] {
			at = append(at, c.bind(offloader.UpstreamChoice{}))
		}
		if slices.Sort(at); !slices.Equal(at, []string{"a", "b", "b"}) {
			t.Errorf("bound to %v", at)
		}
		all[1].release(offloader.Success)
		s.want(all[3:], "admitted")
	})
	play(t, "before the first report there are those of one upstream", byUpstream, func(s *stage) {
		all := s.arrivals(3)
		s.want(all, "admitted admitted waiting")
		s.report("a", "b")
		s.want(all, "admitted admitted admitted")
		for _, c := range all[:2] {
			c.bind(offloader.UpstreamChoice{})
		}
		s.wantUpstreams("a 1/1 b 2/2")
	})
	play(t, "concurrency bounds them together", func(s *offloader.Settings) {
		byUpstream(s)
		s.Concurrency = 2
	}, func(s *stage) {
		s.report("a", "b")
		s.want(s.arrivals(3), "admitted admitted waiting")
	})
	play(t, "one that is not available gets no runs, and its runs bound no others", byUpstream, func(s *stage) {
		s.report("b", "c")
		all := s.arrivals(4)
		s.want(all, "admitted admitted admitted admitted")
		at := map[string][]*caller{}
		for _, c := range all {
			name := c.bind(offloader.UpstreamChoice{})
			at[name] = append(at[name], c)
		}
		s.report("b", "-c")
		waiters := s.arrivals(2)
		s.want(waiters, "waiting waiting")
		at["c"][0].release(offloader.Failure)
		s.want(waiters, "waiting waiting")
		at["b"][0].release(offloader.Success)
		s.want(waiters, "admitted waiting")
		s.report("b", "c")
		s.want(waiters, "admitted admitted")
	})
	play(t, "waiters of a pool whose last upstream has gone wait for it", byUpstream, func(s *stage) {
		s.report("b")
		s.report("-b")
		all := s.arrivals(2)
		s.want(all, "waiting waiting")
		s.report("b")
		s.want(all, "admitted admitted")
	})
	play(t, "other limits take effect at once", byUpstream, func(s *stage) {
		s.report("b")
		all := s.arrivals(4)
		s.want(all, "admitted admitted waiting waiting")
		s.configure(func(s *offloader.Settings) { s.UpstreamConcurrency = 3 })
		s.want(all, "admitted admitted admitted waiting")
		s.configure(func(s *offloader.Settings) {
			s.Concurrency, s.UpstreamConcurrency, s.ConcurrencyOf = 5, 0, nil
		})
		s.want(all, "admitted admitted admitted admitted")
	})
	play(t, "a run that costs two takes them at one upstream", byUpstream, func(s *stage) {
		s.report("a", "b", "c")
		costs := func(n int) *caller {
			return s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, Claim: &offloader.Claim{Cost: n}})
		}
		all := []*caller{costs(2), costs(2), costs(2), costs(1)}
		s.want(all, "admitted admitted waiting waiting")
		s.wantUpstreams("a 0/1 b 2/2 c 2/2")
		all[0].release(offloader.Success)
		s.want(all, "admitted admitted admitted admitted")
		s.wantUpstreams("a 1/1 b 2/2 c 2/2")
	})
}

func TestBind(t *testing.T) {
	t.Parallel()
	choice := func(prefer, avoid string, among ...string) offloader.UpstreamChoice {
		return offloader.UpstreamChoice{Prefer: prefer, Avoid: avoid, Among: among}
	}
	play(t, "a run moves with its permit", byUpstream, func(s *stage) {
		s.report("b", "c")
		c := s.arrive()
		first := c.bind(choice("", ""))
		if again := c.bind(choice("", "")); again != first {
			t.Errorf("bound to %s, then to %s", first, again)
		}
		if next := c.bind(choice("", first)); next == first {
			t.Error("stays where it must not")
		}
		if next := c.bind(choice("b", "")); next != "b" {
			t.Errorf("bound to %s", next)
		}
		if next := c.bind(choice("", "", "c")); next != "c" {
			t.Errorf("bound to %s", next)
		}
		s.wantUpstreams("b 0/2 c 1/2")
	})
	play(t, "the only one is used again although it is to be avoided", byUpstream, func(s *stage) {
		s.report("b")
		c := s.arrive()
		if at := c.bind(choice("", "b")); at != "b" {
			t.Errorf("bound to %q", at)
		}
	})
	play(t, "a run without room waits before all waiters, and holds no permit of an upstream", byUpstream, func(s *stage) {
		s.report("b", "c")
		all := s.arrivals(5)
		s.want(all, "admitted admitted admitted admitted waiting")
		slices.SortFunc(all[:4], func(x, y *caller) int { return strings.Compare(x.bind(choice("", "")), y.bind(choice("", ""))) })
		var at string
		began := time.Now()
		go func() { at, _ = all[2].permit.Bind(context.Background(), choice("b", ""), second) }()
		synctest.Wait()
		s.want(all[4:], "admitted") // by the permit at c
		if got := s.pool.Snapshot().Seeking; got != 1 {
			t.Errorf("%d seek", got)
		}
		s.pass(second / 2)
		all[0].release(offloader.Success)
		if synctest.Wait(); at != "b" || time.Since(began) != second/2 {
			t.Errorf("bound to %q after %s", at, time.Since(began))
		}
		s.wantUpstreams("b 2/2 c 2/2")
		if got := s.pool.Snapshot().Seeking; got != 0 {
			t.Errorf("%d seek", got)
		}
	})
	play(t, "the wait ends", byUpstream, func(s *stage) {
		s.report("a", "b")
		all := s.arrivals(3)
		for _, c := range all {
			c.bind(choice("", ""))
		}
		began := time.Now()
		if at, ok := all[0].permit.Bind(context.Background(), choice("", "", "none"), second); ok || time.Since(began) != second {
			t.Errorf("bound to %q after %s", at, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(context.Background(), second/2)
		defer cancel()
		if at, ok := all[1].permit.Bind(ctx, choice("", "", "none"), second); ok || time.Since(began) != second*3/2 {
			t.Errorf("bound to %q after %s", at, time.Since(began))
		}
	})
	play(t, "a released run is bound to nothing", byUpstream, func(s *stage) {
		s.report("a")
		c := s.arrive()
		c.release(offloader.Success)
		if at, ok := c.permit.Bind(context.Background(), choice("", ""), second); ok {
			t.Errorf("bound to %q", at)
		}
	})
}

// Pools that share upstreams share their permits, and a permit that comes free in one of
// them goes to a waiter of another one.
func TestSharedUpstreams(t *testing.T) {
	t.Parallel()
	table := func() offloader.Option { return offloader.WithUpstreams(offloader.NewUpstreams()) }
	shared := table()
	play(t, "shared", byUpstream, func(s *stage) {
		s.report("b")
		settings := offloader.Settings{Queue: 10, UpstreamConcurrency: 3}
		other := s.open(settings, shared)
		other.ReportUpstreams(states([]string{"b"}))
		first := s.arrivals(2)
		third, err := other.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		waiter := s.arrive()
		s.want([]*caller{waiter}, "waiting")
		third.Release(offloader.Success)
		synctest.Wait()
		s.want([]*caller{waiter}, "waiting") // b has two runs, as many as this pool allows
		first[0].release(offloader.Success)
		s.want([]*caller{waiter}, "admitted")
		fourth, err := other.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		last := s.arrive()
		first[1].release(offloader.Success)
		s.want([]*caller{last}, "waiting")
		fourth.Release(offloader.Success)
		synctest.Wait()
		s.want([]*caller{last}, "admitted")
	}, shared)
}

// On random histories of several pools in front of shared upstreams, no upstream has more
// runs than its limit, no caller waits while one that it may use has room, and all permits
// come back.
func TestUpstreamsOnRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			h := &upstreamHistory{t: t, rnd: rand.New(rand.NewPCG(seed, 16)), table: offloader.NewUpstreams()}
			h.play()
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

type upstreamHistory struct {
	t      *testing.T
	rnd    *rand.Rand
	table  *offloader.Upstreams
	stages []*stage
}

var upstreamNames = []string{"a", "b", "c", "d"}

func (h *upstreamHistory) play() {
	for range 1 + h.rnd.IntN(3) {
		s := &stage{t: h.t, began: time.Now()}
		s.pool = s.open(offloader.Settings{Queue: 50, UpstreamConcurrency: 2, ConcurrencyOf: map[string]int{"c": 4}}, offloader.WithUpstreams(h.table))
		s.pool.ReportUpstreams(states(upstreamNames[:2]))
		h.stages = append(h.stages, s)
	}
	for range 150 {
		h.step(h.stages[h.rnd.IntN(len(h.stages))])
		synctest.Wait()
		h.check()
	}
	for _, s := range h.stages {
		s.finish()
	}
	for _, s := range h.stages {
		s.pass(second)
		for _, u := range s.pool.Snapshot().Upstreams {
			if u.Running != 0 {
				h.t.Errorf("%d runs at %s at the end", u.Running, u.Name)
			}
		}
	}
}

func (h *upstreamHistory) step(s *stage) {
	running := slices.DeleteFunc(slices.Clone(s.came), func(c *caller) bool { return c.state() != "admitted" || c.finished })
	switch n := h.rnd.IntN(10); {
	case n < 4:
		s.arrive()
	case n < 5:
		names := []string{}
		for _, name := range upstreamNames {
			switch h.rnd.IntN(4) {
			case 0:
				names = append(names, "-"+name)
			case 1, 2:
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			s.report(names...)
		}
	case len(running) == 0:
	case n < 7:
		choice := offloader.UpstreamChoice{}
		if h.rnd.IntN(2) == 0 {
			choice.Avoid = upstreamNames[h.rnd.IntN(4)]
		}
		if h.rnd.IntN(2) == 0 {
			choice.Prefer = upstreamNames[h.rnd.IntN(4)]
		}
		c := running[h.rnd.IntN(len(running))]
		wait := time.Duration(h.rnd.IntN(2)) * second
		go c.permit.Bind(context.Background(), choice, wait)
		synctest.Wait()
		if h.rnd.IntN(2) == 0 {
			s.pass(second)
		}
	default:
		running[h.rnd.IntN(len(running))].release(offloader.Success)
	}
}

func (h *upstreamHistory) check() {
	for i, s := range h.stages {
		n := s.pool.Snapshot()
		for _, u := range n.Upstreams {
			if u.Running > u.Limit || u.Running < 0 {
				h.t.Fatalf("%d runs at %s, limit %d", u.Running, u.Name, u.Limit)
			}
			if n.Waiting > 0 && u.Available && u.Running < u.Limit {
				h.t.Fatalf("pool %d: %d wait while %s has %d of %d", i, n.Waiting, u.Name, u.Running, u.Limit)
			}
		}
	}
}

// An upstream that does not answer a run pauses, and gets one run at a time after that until
// one is answered: others take its waiters meanwhile.
func TestLostRunsPauseTheirUpstream(t *testing.T) {
	t.Parallel()
	play(t, "lost", byUpstream, func(s *stage) {
		s.report("b", "c")
		all := s.arrivals(4)
		slices.SortFunc(all, func(x, y *caller) int {
			return strings.Compare(x.bind(offloader.UpstreamChoice{}), y.bind(offloader.UpstreamChoice{}))
		})
		lose := func(c *caller) {
			c.permit.Unanswered()
			c.release(offloader.Failure)
		}
		lose(all[0]) // at b
		lose(all[1])
		waiters := s.arrivals(3)
		s.want(waiters, "waiting waiting waiting")
		s.pass(50 * time.Millisecond)
		s.want(waiters, "admitted waiting waiting")
		lose(waiters[0])
		s.pass(99 * time.Millisecond)
		s.want(waiters[1:], "waiting waiting")
		s.pass(time.Millisecond)
		s.want(waiters[1:], "admitted waiting")
		waiters[1].release(offloader.Failure) // it has answered
		s.want(waiters[2:], "admitted")
		s.want(s.arrivals(2), "admitted waiting")
		s.wantUpstreams("b 2/2 c 2/2")
		lose(all[2]) // at c
		s.report("b", "-c")
		s.report("b", "c")
		s.want(s.arrivals(1), "waiting") // the one that has waited has the permit
		s.wantUpstreams("b 2/2 c 2/2")
	})
}
