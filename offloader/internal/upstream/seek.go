package upstream

import (
	"context"
	"slices"
	"time"
)

// Choice is what a run asks for that is about to be sent.
type Choice struct {
	// Among are the upstreams that it may go to, all of the set if it is empty.
	Among []string
	// Prefer is the one that it should go to, if that is one of Among. Empty: none.
	Prefer string
	// Avoid is one that it should not go to, if another one has room.
	Avoid string
}

func (c *Choice) accepts(name string) bool {
	return len(c.Among) == 0 || slices.Contains(c.Among, name)
}

// best is pick for a choice, which ignores the preferred upstream.
func (s *Set) best(n int, c Choice) *Member {
	m := s.pick(n, func(name string) bool { return c.accepts(name) && name != c.Avoid })
	if m == nil {
		m = s.pick(n, c.accepts)
	}
	return m
}

// Move takes a run with so many permits from one upstream, nil for none, to the one that it
// chooses. It stays where it is if that is a good choice. It returns nil if none has room:
// then the run holds no permits of an upstream. The functions are those of [Member.Free].
func (s *Set) Move(from *Member, n int, c Choice) (to *Member, changed []func()) {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	stays := from != nil && from.usable() && from != s.unknown && c.accepts(from.host.name)
	if from != nil { // so that its permits are free for the choice
		from.set.free(from, n)
	}
	switch preferred := s.preferred(n, c); {
	case c.Prefer != "":
		to = preferred
	case stays && from.host.name != c.Avoid:
		to = from
	default:
		to = s.best(n, c)
	}
	if to != nil {
		s.take(to, n)
	}
	if from != nil && from != to {
		t.serve()
		changed = from.others()
	}
	return to, changed
}

// preferred is the upstream that a run prefers, nil if that has no room.
func (s *Set) preferred(n int, c Choice) *Member {
	return s.pick(n, func(name string) bool { return name == c.Prefer && c.accepts(name) })
}

// Seeker is a run that waits for an upstream with room. It comes before all waiters.
type Seeker struct {
	set    *Set
	n      int
	choice Choice
	found  chan *Member // has room for one
}

// Seek waits until an upstream has room: the preferred one, if there is one. It returns nil
// when the context ends or the time is over.
func (s *Set) Seek(ctx context.Context, n int, c Choice, limit time.Duration) *Member {
	k := &Seeker{set: s, n: n, choice: c, found: make(chan *Member, 1)}
	t := s.table
	t.mu.Lock()
	t.seekers = append(t.seekers, k)
	t.serve()
	t.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case m := <-k.found:
		return m
	case <-timer.C:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seekers = slices.DeleteFunc(t.seekers, func(other *Seeker) bool { return other == k })
	select {
	case m := <-k.found: // at this moment
		return m
	default:
		return nil
	}
}

// serve gives permits to seekers, in order. It requires t.mu.
func (t *Table) serve() {
	t.seekers = slices.DeleteFunc(t.seekers, func(k *Seeker) bool {
		var m *Member
		if k.choice.Prefer != "" {
			m = k.set.preferred(k.n, k.choice)
		} else {
			m = k.set.best(k.n, k.choice)
		}
		if m == nil {
			return false
		}
		k.set.take(m, k.n)
		k.found <- m
		return true
	})
}
