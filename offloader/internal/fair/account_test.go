package fair

import (
	"testing"
	"time"
)

// A key whose runs were charged far too little gets its next permit when the others have
// had their share for about as long as one of those runs.
func TestDebtsAreBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		run     time.Duration
		longest time.Duration
	}{
		"short runs": {100 * time.Millisecond, 1200 * time.Millisecond},
		"long runs":  {10 * time.Second, 10*time.Second + 200*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const permits = 8
			s := newStall(one(permits))
			heavy := make([]*Seat, 3*permits)
			for i := range heavy { // all permits, at the charge of a first run
				heavy[i] = s.come("heavy", 1)
			}
			for range permits {
				s.q.Grant(s.q.Next(s.now, true), s.now)
			}
			s.now += int64(tt.run)
			for range 2 * permits {
				s.come("light", 1)
			}
			for _, seat := range heavy[:permits] {
				s.q.End(seat, s.now, true)
			}
			began := s.now
			s.absent = func(seat *Seat) { s.come(seat.Key(), 1) }
			for s.used["heavy"] == 0 && s.now-began < int64(time.Minute) {
				s.pass(10 * time.Millisecond)
			}
			if waited := time.Duration(s.now - began); waited > tt.longest+200*time.Millisecond {
				t.Errorf("the key got its next permit after %s, want at most %s", waited, tt.longest)
			}
		})
	}
}

// While a run goes on it is charged for what it takes longer than usual.
func TestRunsAreChargedWhileTheyGoOn(t *testing.T) {
	t.Parallel()
	s := newStall(one(2))
	s.q.Grant(s.come("long", 1), s.now)
	for range 3 {
		s.come("long", 1)
		s.come("short", 1)
	}
	s.now += int64(time.Minute)
	for range 3 {
		seat := s.q.Next(s.now, true)
		if seat.Key() != "short" {
			t.Fatalf("%s is next", seat.Key())
		}
		s.q.Grant(seat, s.now)
		s.q.End(seat, s.now+1, false)
	}
}

// A charge that was too high is paid back.
func TestChargesArePaidBack(t *testing.T) {
	t.Parallel()
	s := newStall(one(1))
	a := s.come("a", 1)
	for range 3 {
		s.come("a", 1)
		s.come("b", 1)
	}
	s.q.Grant(a, s.now) // at 100 ms
	s.now += int64(time.Millisecond)
	s.q.End(a, s.now, true)
	b := s.q.Next(s.now, true)
	if b.Key() != "b" {
		t.Fatalf("%s is next", b.Key())
	}
	s.q.Grant(b, s.now) // at what a's run took
	s.now += 10 * int64(time.Millisecond)
	s.q.End(b, s.now, true)
	for i := range 2 {
		next := s.q.Next(s.now, true)
		if next.Key() != "a" {
			t.Fatalf("%s is next at %d", next.Key(), i)
		}
		s.q.Grant(next, s.now)
		s.now += int64(time.Millisecond)
		s.q.End(next, s.now, true)
	}
}
