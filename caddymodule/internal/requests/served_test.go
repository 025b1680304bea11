package requests

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
)

// servedAfter returns a request that ends at that time, after a run that took so long.
func servedAfter(took time.Duration, at time.Time) *Explanation {
	return &Explanation{ID: NewID(), Decision: DecidedServed, At: at, Took: took}
}

func addServed(s *Served, e *Explanation) (wanted bool) {
	if !s.Wants(e.Total(), e.At) {
		return false
	}
	s.Add(e, &Identity{Path: fmt.Sprint("/", e.Took)})
	return true
}

func tookOf(all []Explanation) (took []time.Duration) {
	for i := range all {
		took = append(took, all[i].Took)
	}
	return took
}

// The slowest requests of the last minutes are remembered, whenever they came.
func TestSlowestAreRemembered(t *testing.T) {
	t.Parallel()
	l := NewExplanations(1)
	one, other := l.Served("one"), l.Served("other")
	now := time.Now()
	for n := range 1000 {
		took := time.Duration((n*7919)%1000+1) * time.Millisecond
		to := one
		if n%2 == 0 {
			to = other
		}
		addServed(to, servedAfter(took, now.Add(time.Duration(n)*time.Millisecond)))
	}
	var want []time.Duration
	for n := range 2 * slowestKept {
		want = append(want, time.Duration(1000-n)*time.Millisecond)
	}
	if got := tookOf(l.Slowest(1000)); !slices.Equal(got, want) {
		t.Errorf("the slowest took %v, want %v", got, want)
	}
	if got := tookOf(l.Slowest(2)); len(got) != 2 || got[0] != time.Second {
		t.Errorf("the slowest two took %v", got)
	}
	runtime.KeepAlive(one)
	runtime.KeepAlive(other)
}

// Fast requests take the places of slow ones that are older than some minutes.
func TestSlowestAreForgotten(t *testing.T) {
	t.Parallel()
	s := NewExplanations(1).Served("one")
	now := time.Now()
	for range slowestKept {
		addServed(s, servedAfter(time.Minute, now.Add(-slowestFor)))
	}
	if got := s.lastSlowest(nil); len(got) != 0 {
		t.Errorf("%d that are too old are listed", len(got))
	}
	for range slowestKept {
		if !addServed(s, servedAfter(time.Millisecond, now)) {
			t.Error("no place of an old one was taken")
		}
	}
	if got := s.lastSlowest(nil); len(got) != slowestKept {
		t.Errorf("%d are listed", len(got))
	}
}

// Of the others one is remembered now and then, and found by its id.
func TestSomeServedAreSampled(t *testing.T) {
	t.Parallel()
	l := NewExplanations(1)
	s := l.Served("one")
	now := time.Now()
	for range slowestKept {
		addServed(s, servedAfter(time.Minute, now))
	}
	var sampled []*Explanation
	for n := range 20 * sampleKept {
		e := servedAfter(time.Millisecond, now.Add(time.Duration(n)*sampleEvery/10))
		if addServed(s, e) {
			sampled = append(sampled, e)
		}
	}
	if len(sampled) != 2*sampleKept {
		t.Fatalf("%d were remembered, want %d", len(sampled), 2*sampleKept)
	}
	for i, e := range sampled {
		id, _ := ParseID(e.ID.String())
		found, ok := l.Find(id)
		if want := i >= sampleKept; ok != want || (ok && found.Who.Read(found.Who.Path) != "/1ms") {
			t.Errorf("%d of %d is found: %t", i, len(sampled), ok)
		}
	}
	runtime.KeepAlive(s)
}

// Without a list of unserved requests there is none of served ones, and a list ends with
// the routes of its pool.
func TestServedAreOffAndForgotten(t *testing.T) {
	t.Parallel()
	l := NewExplanations(1)
	switchOff(t, l)
	runtime.GC()
	if n := len(l.served.living()); n != 0 {
		t.Errorf("%d lists are left", n)
	}
	l.Served("other")
	if n := len(l.served.all); n != 1 {
		t.Errorf("%d names are left", n)
	}
}

// switchOff uses a list that nothing else uses, off and on.
func switchOff(t *testing.T, l *Explanations) {
	t.Helper()
	s := l.Served("one")
	if l.Served("one") != s {
		t.Error("a pool has two lists")
	}
	l.Resize(0)
	if s.Wants(time.Hour, time.Now()) || (*Served)(nil).Wants(time.Hour, time.Now()) {
		t.Error("a request is to be remembered in no list")
	}
	l.Resize(1)
	if !s.Wants(time.Hour, time.Now()) {
		t.Error("the list stays off")
	}
}

func TestServedAllocateNothing(t *testing.T) {
	s := NewExplanations(1).Served("one")
	e := servedAfter(time.Millisecond, time.Now())
	add := func() {
		e.Took += time.Millisecond // slower than all before
		e.At = e.At.Add(sampleEvery)
		if !s.Wants(e.Total(), e.At) {
			t.Error("it is not remembered")
		}
		s.Add(e, &Identity{})
	}
	for range 10 * slowestKept {
		add()
	}
	if got := testing.AllocsPerRun(1000, add); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkServed(b *testing.B) {
	s := NewExplanations(1).Served("one")
	now := time.Now()
	for range slowestKept + 1 {
		addServed(s, servedAfter(time.Minute, now))
	}
	b.Run("fast", func(b *testing.B) {
		for b.Loop() {
			if s.Wants(time.Millisecond, now) {
				b.Fatal("a fast request is remembered")
			}
		}
	})
	b.Run("slow", func(b *testing.B) {
		b.ReportAllocs()
		e := servedAfter(2*time.Minute, now)
		for b.Loop() {
			e.Took++
			s.Add(e, &Identity{})
		}
	})
}
