package offloader_test

import (
	"context"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// claims lets a caller come with a claim.
func (s *stage) claims(c offloader.Claim) *caller {
	return s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, Claim: &c})
}

// costs lets callers come that take so many permits.
func (s *stage) costs(permits ...int) (all []*caller) {
	for _, n := range permits {
		all = append(all, s.claims(offloader.Claim{Cost: n}))
	}
	return all
}

// keys lets callers come with the keys that are the letters of a text.
func (s *stage) keys(text string) (all []*caller) {
	for _, key := range text {
		all = append(all, s.claims(offloader.Claim{Key: string(key)}))
	}
	return all
}

// classes lets callers come with the classes that begin with the letters of a text.
func (s *stage) classes(text string) (all []*caller) {
	for _, letter := range text {
		for _, class := range []string{"interactive", "normal", "batch"} {
			if class[0] == byte(letter) {
				all = append(all, s.claims(offloader.Claim{Class: class}))
			}
		}
	}
	return all
}

func threeClasses(s *offloader.Settings) {
	s.Classes = []offloader.Class{{Name: "interactive", Weight: 8}, {Name: "normal", Weight: 4}, {Name: "batch", Weight: 1}}
}

// servedNext lets the runs end one after the other, a second each, and returns the letters
// of the callers in the order in which they get their permits.
func servedNext(holders []*caller, waiters map[string]*caller) string {
	var order strings.Builder
	for len(holders) > 0 {
		h := holders[0]
		holders = holders[1:]
		h.s.pass(second)
		h.release(offloader.Success)
		for name, w := range waiters {
			if w.state() == "admitted" {
				order.WriteString(name[:1])
				holders = append(holders, w)
				delete(waiters, name)
			}
		}
	}
	return order.String()
}

// lettered names callers by the letters of a text.
func lettered(text string, callers []*caller) map[string]*caller {
	all := make(map[string]*caller)
	for i, c := range callers {
		all[text[i:]] = c
	}
	return all
}

func TestCosts(t *testing.T) {
	t.Parallel()
	play(t, "a run takes the permits that it costs", permits(4), func(s *stage) {
		all := s.costs(3, 0, 1)
		s.want(all, "admitted admitted waiting")
		s.wantGauges("4 of 4 running, 1 waiting")
		all[0].release(offloader.Success)
		s.want(all[2:], "admitted")
		s.wantGauges("2 of 4 running, 0 waiting")
	})
	play(t, "permits are kept for the first waiter", permits(4), func(s *stage) {
		running := s.costs(1, 1, 2)
		waiters := s.costs(4, 1)
		running[0].release(offloader.Success)
		running[1].release(offloader.Success)
		s.want(append(waiters, s.costs(1)...), "waiting waiting waiting")
		s.want([]*caller{s.arrive()}, "waiting")
		running[2].release(offloader.Success)
		s.want(waiters, "admitted waiting")
		waiters[0].release(offloader.Success)
		s.want(waiters[1:], "admitted")
	})
	play(t, "permits are kept until the first waiter leaves", permits(4), func(s *stage) {
		running := s.costs(2, 2)
		waiters := s.costs(4, 1)
		running[0].release(offloader.Success)
		s.want(waiters, "waiting waiting")
		waiters[0].leave(errLeft)
		s.pass(0)
		s.want(append(waiters, running[1]), "left admitted admitted")
	})
	play(t, "a newer one that is served first keeps its permits", func(s *offloader.Settings) {
		s.Concurrency, s.MaxWait = 2, 8*second
	}, func(s *stage) {
		s.learn(4 * second)
		running := s.costs(1, 1)
		older := s.costs(1, 1, 1, 1, 1)
		s.pass(second)
		expensive := s.costs(2)
		running[0].release(offloader.Success)
		newest := s.costs(1)
		s.want(append(expensive, newest...), "waiting waiting")
		running[1].release(offloader.Success)
		s.want(append(expensive, newest...), "admitted waiting")
		s.want(older, "waiting waiting waiting waiting waiting")
	})
	play(t, "a cost above the concurrency is all permits", permits(4), func(s *stage) {
		all := s.costs(100, 1)
		s.want(all, "admitted waiting")
		s.wantGauges("4 of 4 running, 1 waiting")
		all[0].release(offloader.Success)
		s.want(all[1:], "admitted")
	})
	play(t, "a waiter's cost follows the concurrency", permits(4), func(s *stage) {
		running, waiters := s.costs(1, 1, 1, 1), s.costs(100)
		s.resize(2, 10)
		for _, c := range running {
			s.want(waiters, "waiting")
			c.release(offloader.Success)
		}
		s.want(waiters, "admitted")
		s.wantGauges("2 of 2 running, 0 waiting")
	})
	play(t, "a lingering permit is all that the run held", func(s *offloader.Settings) {
		s.Concurrency, s.Linger = 3, second
	}, func(s *stage) {
		all := s.costs(3, 1)
		all[0].finished = true
		all[0].permit.ReleaseCancelled(offloader.Excluded)
		s.pass(0)
		s.wantGauges("3 of 3 running, 1 waiting")
		if got := s.pool.Snapshot().Lingering; got != 3 {
			s.t.Errorf("%d permits linger", got)
		}
		s.pass(second)
		s.want(all[1:], "admitted")
	})
	play(t, "abandoned runs count their permits", permits(3), func(s *stage) {
		all := s.costs(2)
		all[0].permit.Abandon()
		if got := s.pool.Snapshot().Abandoned; got != 2 {
			s.t.Errorf("%d permits of abandoned runs", got)
		}
		all[0].release(offloader.Success)
	})
	play(t, "capped callers hold half of the permits", permits(6), func(s *stage) {
		capped := func(cost int) *caller {
			return s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, CappedBy: unspooledLimit, Claim: &offloader.Claim{Cost: cost}})
		}
		s.want([]*caller{capped(2), capped(2), capped(1), capped(1)}, "admitted unspooled_limit admitted unspooled_limit")
		if got := s.pool.Snapshot().Capped; got != 3 {
			s.t.Errorf("%d permits of capped runs", got)
		}
	})
	play(t, "a capped caller that takes more than half may run alone", permits(6), func(s *stage) {
		capped := func(cost int) *caller {
			return s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, CappedBy: unspooledLimit, Claim: &offloader.Claim{Cost: cost}})
		}
		s.want([]*caller{capped(5), capped(1)}, "admitted unspooled_limit")
	})
	play(t, "a warm-up begins with one run of any cost", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage) {
		s.recover()
		all := s.costs(3, 1)
		s.want(all, "admitted waiting")
		all[0].release(offloader.Success)
		s.want(all[1:], "admitted")
		s.want(s.costs(1, 1, 1), "admitted waiting waiting")
	})
	play(t, "no run holds permits that it gave back", permits(4), func(s *stage) {
		c := s.costs(3)[0]
		c.release(offloader.Success)
		c.permit.Release(offloader.Success)
		s.want(s.arrivals(5), "admitted admitted admitted admitted waiting")
	})
	play(t, "without a limit each runs", permits(0), func(s *stage) {
		s.want(s.costs(1000, 5), "admitted admitted")
		if got := s.pool.Snapshot().Running; got != 1005 {
			s.t.Errorf("%d permits in use", got)
		}
	})
}

// Runs of the pool before count with their cost, and get all of their permits together.
func TestCostsInASuccession(t *testing.T) {
	t.Parallel()
	play(t, "an elder pool waits for all of its permits", permits(4), func(s *stage) {
		holders := s.costs(2)
		heir := s.heir(s.pool, 4)
		s.wantLimit(heir, 2, 2)
		mine := []*caller{s.arriveIn(heir, nil), s.arriveIn(heir, nil)}
		late := s.costs(2)
		theirs := s.arriveIn(heir, nil)
		s.want(append(mine, late[0], theirs), "admitted admitted waiting waiting")
		mine[0].release(offloader.Success)
		s.want([]*caller{late[0], theirs, s.arriveIn(heir, nil)}, "waiting waiting waiting")
		mine[1].release(offloader.Success)
		s.want([]*caller{late[0], theirs}, "admitted waiting")
		s.wantLimit(heir, 0, 4)
		holders[0].release(offloader.Success)
		late[0].release(offloader.Success)
		s.want([]*caller{theirs}, "admitted")
		s.wantLimit(heir, 4, 0)
	})
	play(t, "no newcomer takes what an elder pool waits for", permits(4), func(s *stage) {
		heir := s.heir(s.pool, 4)
		all := []*caller{s.arriveIn(heir, nil), s.arriveIn(heir, nil), s.arriveIn(heir, nil)}
		elder := s.costs(3)
		all[0].release(offloader.Success)
		newcomer := s.arriveIn(heir, nil)
		s.want(append(elder, newcomer), "waiting waiting")
		all[1].release(offloader.Success)
		s.want(append(elder, newcomer), "admitted waiting")
		elder[0].release(offloader.Success)
		s.want([]*caller{newcomer}, "admitted")
	})
	play(t, "a smaller successor lends what it has", permits(4), func(s *stage) {
		heir := s.heir(s.pool, 2)
		mine := s.arriveIn(heir, nil)
		all := s.costs(4, 1)
		s.want(all, "waiting waiting")
		mine.release(offloader.Success)
		s.want(all, "admitted waiting")
		all[0].release(offloader.Success)
		s.want(all[1:], "admitted")
	})
}

func TestPerKey(t *testing.T) {
	t.Parallel()
	perKey := func(n int) func(*offloader.Settings) {
		return func(s *offloader.Settings) { s.Concurrency, s.PerKey = 4, n }
	}
	play(t, "a key waits at its cap, and others pass it", perKey(2), func(s *stage) {
		greedy := s.keys("aaaa")
		s.want(greedy, "admitted admitted waiting waiting")
		s.want(s.keys("b"), "admitted")
		greedy[0].release(offloader.Success)
		s.want(greedy[2:], "admitted waiting")
		s.want(s.keys("bb"), "admitted waiting")
	})
	play(t, "callers without a key have no cap", perKey(1), func(s *stage) {
		s.want(s.arrivals(5), "admitted admitted admitted admitted waiting")
	})
	play(t, "a cap counts permits, and a run above it runs alone", perKey(2), func(s *stage) {
		big := s.claims(offloader.Claim{Key: "a", Cost: 3})
		small := s.keys("a")
		s.want([]*caller{big, small[0]}, "admitted waiting")
		big.release(offloader.Success)
		again := s.claims(offloader.Claim{Key: "a", Cost: 3})
		s.want([]*caller{small[0], again}, "admitted waiting")
		small[0].release(offloader.Success)
		s.want([]*caller{again}, "admitted")
	})
	play(t, "a waiter that leaves gives its chance to the next one of its key", func(s *offloader.Settings) {
		s.PerKey = 1
	}, func(s *stage) {
		holder := s.keys("b")
		two := s.keys("aa")
		two[0].leave(errLeft)
		s.pass(0)
		holder[0].release(offloader.Success)
		s.want(two, "left admitted")
	})
	play(t, "a higher cap admits at once", perKey(1), func(s *stage) {
		two := s.keys("aa")
		s.want(two, "admitted waiting")
		if w := s.pool.Waiters(); len(w) != 1 || !w[0].Aside {
			s.t.Errorf("the waiters are %+v", w)
		}
		s.configure(perKey(2))
		s.want(two, "admitted admitted")
	})
	play(t, "a lower cap holds for those that wait", perKey(2), func(s *stage) {
		holder := s.claims(offloader.Claim{Key: "b", Cost: 4})
		two := s.keys("aa")
		s.configure(perKey(1))
		holder.release(offloader.Success)
		s.want(two, "admitted waiting")
	})
	play(t, "a key has so many places", func(s *offloader.Settings) { s.QueuePerKey = 2 }, func(s *stage) {
		s.want(s.keys("aaaa"), "admitted waiting waiting key_queue_full")
		s.want(s.keys("bb"), "waiting waiting")
		s.want(s.arrivals(3), "waiting waiting waiting")
		rejected := &offloader.Ticket{Pool: s.pool, Claim: &offloader.Claim{Key: "a"}}
		s.want([]*caller{s.arriveAt(context.Background(), rejected)}, "key_queue_full")
		r, _ := rejected.Record()
		if r.Claim.Key != "a" || r.KeyWaiting != 2 || r.Claim.Cost != 1 {
			s.t.Errorf("the record is %+v", r)
		}
	})
}

func fair(s *offloader.Settings) { s.Fair = true }

func TestFairOrder(t *testing.T) {
	t.Parallel()
	play(t, "keys are served in turn", fair, func(s *stage) {
		holder := s.keys("x")
		waiters := lettered("aaaabb", s.keys("aaaabb"))
		if got := servedNext(holder, waiters); got != "ababaa" {
			s.t.Errorf("served in the order %s", got)
		}
	})
	play(t, "without keys the order is that of arrival", nil, func(s *stage) {
		holder := s.keys("x")
		waiters := lettered("aaaabb", s.keys("aaaabb"))
		if got := servedNext(holder, waiters); got != "aaaabb" {
			s.t.Errorf("served in the order %s", got)
		}
	})
	play(t, "a full queue makes room for a key with fewer waiters", fair, func(s *stage) {
		s.resize(1, 4)
		s.keys("x")
		greedy, modest := s.keys("aaaa"), s.keys("bb")
		s.want(greedy, "waiting waiting displaced displaced")
		s.want(append(modest, s.keys("ba")...), "waiting waiting queue_full queue_full")
	})
	play(t, "the waiters are listed with their claims, as they will be served", fair, func(s *stage) {
		s.keys("xaaabb")
		var listed strings.Builder
		for _, w := range s.pool.Waiters() {
			listed.WriteString(w.Claim.Key)
			if w.Claim.Class != "normal" || w.Claim.Cost != 1 || w.Aside {
				s.t.Errorf("listed as %+v", w)
			}
		}
		if got := listed.String(); got != "ababa" {
			s.t.Errorf("listed in the order %s", got)
		}
	})
	play(t, "a turn goes before the waiters of its key only", func(s *offloader.Settings) {
		s.Fair, s.Queue = true, 0
	}, func(s *stage) {
		a := offloader.Claim{Key: "a"}
		ticket := &offloader.Ticket{Pool: s.pool, Caller: guestFrom(1, 1), Claim: &a}
		holder := s.keys("x")
		s.want([]*caller{s.arriveAt(context.Background(), ticket)}, "queue_full")
		wait := ticket.NextRetry(offloader.QueueFull).Turn
		s.resize(1, 10)
		waiters := lettered("bba", s.keys("bba"))
		s.pass(wait)
		waiters["Turn of a"] = s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, Caller: guestFrom(1, 1), Claim: &a})
		if got := servedNext(holder, waiters); got != "bTba" {
			s.t.Errorf("served in the order %s", got)
		}
	})
}

func TestClasses(t *testing.T) {
	t.Parallel()
	play(t, "share the permits by weight", threeClasses, func(s *stage) {
		s.resize(1, 100)
		s.learn(second)
		holder := s.arrivals(1)
		text := strings.Repeat("i", 40) + strings.Repeat("n", 20) + strings.Repeat("b", 10)
		got := servedNext(holder, lettered(text, s.classes(text)))[:39]
		for letter, want := range map[string]int{"i": 24, "n": 12, "b": 3} {
			if n := strings.Count(got, letter); n < want-1 || n > want+1 {
				s.t.Errorf("%d of %s in %s", n, letter, got)
			}
		}
	})
	play(t, "are normal if unknown", threeClasses, func(s *stage) {
		s.arrive()
		s.claims(offloader.Claim{Class: "unknown"})
		s.claims(offloader.Claim{})
		s.arrive()
		for _, w := range s.pool.Waiters() {
			if w.Claim.Class != "normal" {
				s.t.Errorf("listed as %+v", w)
			}
		}
	})
	play(t, "are the first one if unknown and none is normal", func(s *offloader.Settings) {
		s.Classes = []offloader.Class{{Name: "gold", Weight: 2}, {Name: "rest", Weight: 1}}
	}, func(s *stage) {
		s.arrivals(2)
		if w := s.pool.Waiters(); w[0].Claim.Class != "gold" {
			s.t.Errorf("listed as %+v", w)
		}
	})
	play(t, "displace the youngest of the least urgent", threeClasses, func(s *stage) {
		s.resize(1, 4)
		s.arrive()
		waiters := s.classes("bbnn")
		s.want(s.classes("b"), "queue_full")
		s.want(s.classes("n"), "waiting")
		s.want(waiters, "waiting displaced waiting waiting")
		s.want(s.classes("ii"), "waiting waiting")
		s.want(waiters, "displaced displaced waiting waiting")
		s.want(s.classes("n"), "queue_full")
		s.want(s.classes("i"), "waiting")
		s.want(waiters[:3], "displaced displaced waiting")
	})
	play(t, "count their callers", threeClasses, func(s *stage) {
		s.resize(2, 2)
		s.classes("i")
		s.claims(offloader.Claim{Class: "batch", Cost: 1})
		s.classes("bbbi")
		got := s.pool.Snapshot().Classes
		want := []offloader.ClassCount{
			{Class: offloader.Class{Name: "interactive", Weight: 8}, Waiting: 1, Running: 1, Admitted: 1},
			{Class: offloader.Class{Name: "normal", Weight: 4}},
			{Class: offloader.Class{Name: "batch", Weight: 1}, Waiting: 1, Running: 1, Admitted: 1, Rejected: 2},
		}
		for i := range want {
			if len(got) != len(want) || got[i] != want[i] {
				s.t.Fatalf("counted\n     %+v\nwant %+v", got, want)
			}
		}
	})
	play(t, "may change while callers wait and run", threeClasses, func(s *stage) {
		running := s.classes("b")
		waiters := s.classes("nbi")
		s.configure(func(s *offloader.Settings) {
			s.Classes = []offloader.Class{{Name: "batch", Weight: 1}, {Name: "normal", Weight: 1}}
		})
		got := s.pool.Snapshot().Classes
		if len(got) != 2 || got[0].Running != 1 || got[0].Waiting != 1 || got[1].Waiting != 2 || got[0].Admitted != 1 {
			s.t.Errorf("counted %+v", got)
		}
		s.configure(func(s *offloader.Settings) { s.Classes = nil })
		if got := s.pool.Snapshot().Classes; len(got) != 1 || got[0].Running != 1 || got[0].Waiting != 3 {
			s.t.Errorf("counted %+v", got)
		}
		if got := servedNext(running, lettered("nbi", waiters)); got != "nbi" {
			s.t.Errorf("served in the order %s", got)
		}
	})
}

// Records have the claim as it was counted, and why the place went to another caller.
func TestRecordsOfDisplacedCallers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claim offloader.Claim
		by    offloader.Displacer
	}{
		"by urgency":  {offloader.Claim{Key: "a", Class: "interactive"}, offloader.ByUrgent},
		"by fairness": {offloader.Claim{Key: "b", Class: "batch"}, offloader.ByFair},
	} {
		play(t, name, func(s *offloader.Settings) {
			threeClasses(s)
			s.Fair, s.Queue = true, 2
		}, func(s *stage) {
			s.arrive()
			claim := offloader.Claim{Key: "a", Class: "batch"}
			s.claims(claim)
			ticket := &offloader.Ticket{Pool: s.pool, Claim: &claim}
			c := s.arriveAt(context.Background(), ticket)
			s.claims(tt.claim)
			s.want([]*caller{c}, "displaced")
			r, _ := ticket.Record()
			want := offloader.Claim{Key: "a", Class: "batch", Cost: 1}
			if r.Claim != want || r.Displaced != tt.by || r.Reason != offloader.Displaced || r.Ahead != 1 {
				s.t.Errorf("the record is %+v", r)
			}
		})
	}
}

func TestInvalidClasses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*offloader.Settings){
		"class 'a' is listed twice": func(s *offloader.Settings) {
			s.Classes = []offloader.Class{{Name: "a", Weight: 1}, {Name: "a", Weight: 2}}
		},
		"classes must have names":                                  func(s *offloader.Settings) { s.Classes = []offloader.Class{{Weight: 1}} },
		"the weight of class 'a' must be from 1 to 1000, not 0":    func(s *offloader.Settings) { s.Classes = []offloader.Class{{Name: "a"}} },
		"the weight of class 'a' must be from 1 to 1000, not 1001": func(s *offloader.Settings) { s.Classes = []offloader.Class{{Name: "a", Weight: 1001}} },
		"per_key must not be negative":                             func(s *offloader.Settings) { s.PerKey = -1 },
		"queue_per_key must not be negative":                       func(s *offloader.Settings) { s.QueuePerKey = -1 },
	} {
		var s offloader.Settings
		change(&s)
		if err := s.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The first caller with a cost may come while others wait.
func TestTheFirstCostComesLate(t *testing.T) {
	t.Parallel()
	play(t, "and waits its turn", permits(2), func(s *stage) {
		running := s.arrivals(2)
		waiters := append(s.arrivals(1), s.costs(2)...)
		waiters = append(waiters, s.arrive())
		running[0].release(offloader.Success)
		s.want(waiters, "admitted waiting waiting")
		running[1].release(offloader.Success)
		waiters[0].release(offloader.Success)
		s.want(waiters[1:], "admitted waiting")
	})
}
