package requests

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Which served requests are recorded for each pool: its slowest ones of the last minutes,
// and a sample of the others.
const (
	slowestKept = 24
	slowestFor  = 10 * time.Minute
	sampleKept  = 24
	sampleEvery = 10 * time.Second
)

// Served records served requests of one pool. A request that is not recorded costs no lock,
// and recording one allocates nothing.
type Served struct {
	off *atomic.Bool // of the list that it belongs to

	// Written under mu, read without it; times are since processBegan.
	least    atomic.Int64 // a request must take longer to be among the slowest
	expires  atomic.Int64 // when the first of the slowest is to be forgotten
	sampleAt atomic.Int64 // when the next of the others is to be remembered

	mu      sync.Mutex
	slowest []Explanation // in no order
	sample  []Explanation // a ring
	next    int           // in sample
}

func newServed(off *atomic.Bool) *Served {
	s := &Served{off: off}
	s.least.Store(-1)
	s.expires.Store(math.MaxInt64)
	s.sampleAt.Store(math.MinInt64)
	return s
}

// Wants reports whether a request that ends now, after that time, is to be recorded.
func (s *Served) Wants(took time.Duration, now time.Time) bool {
	if s == nil || s.off.Load() {
		return false
	}
	at := int64(now.Sub(processBegan))
	return int64(took) > s.least.Load() || at >= s.expires.Load() || at >= s.sampleAt.Load()
}

// Add records a served request for which Wants has returned true.
func (s *Served) Add(e *Explanation, who *Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := e.At.Sub(processBegan)
	into := s.slowPlace(e)
	if into == nil {
		if at < time.Duration(s.sampleAt.Load()) {
			return // another one has come in between
		}
		into = s.samplePlace()
		s.sampleAt.Store(int64(at + sampleEvery))
	}
	*into = *e
	into.Who.write(who)
	s.publish()
}

// slowPlace returns the place for a request among the slowest, nil if it was not slow: an
// empty place, that of an entry that is too old, or of the fastest entry. It requires s.mu.
func (s *Served) slowPlace(e *Explanation) *Explanation {
	if len(s.slowest) < slowestKept {
		if s.slowest == nil {
			s.slowest = make([]Explanation, 0, slowestKept)
		}
		s.slowest = append(s.slowest, Explanation{})
		return &s.slowest[len(s.slowest)-1]
	}
	fastest := &s.slowest[0]
	for i := range s.slowest {
		switch old := &s.slowest[i]; {
		case e.At.Sub(old.At) >= slowestFor:
			return old
		case old.Total() < fastest.Total():
			fastest = old
		}
	}
	if e.Total() > fastest.Total() {
		return fastest
	}
	return nil
}

// samplePlace returns the next place of the sample. It requires s.mu.
func (s *Served) samplePlace() *Explanation {
	if s.sample == nil {
		s.sample = make([]Explanation, 0, sampleKept)
	}
	if len(s.sample) < sampleKept {
		s.sample = append(s.sample, Explanation{})
		return &s.sample[len(s.sample)-1]
	}
	s.next = (s.next + 1) % sampleKept
	return &s.sample[s.next]
}

// publish updates the values by which Wants decides. It requires s.mu.
func (s *Served) publish() {
	if len(s.slowest) < slowestKept {
		return
	}
	least, first := s.slowest[0].Total(), s.slowest[0].At
	for i := range s.slowest {
		e := &s.slowest[i]
		least = min(least, e.Total())
		if e.At.Before(first) {
			first = e.At
		}
	}
	s.least.Store(int64(least))
	s.expires.Store(int64(first.Add(slowestFor).Sub(processBegan)))
}

// lastSlowest appends the slowest requests of the last minutes to all.
func (s *Served) lastSlowest(all []Explanation) []Explanation {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slowest {
		if time.Since(s.slowest[i].At) < slowestFor {
			all = append(all, s.slowest[i])
		}
	}
	return all
}

// find returns a request that is remembered.
func (s *Served) find(id WantedID) (Explanation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range [][]Explanation{s.slowest, s.sample} {
		for i := range all {
			if id.Of(all[i].ID) {
				return all[i], true
			}
		}
	}
	return Explanation{}, false
}

// servedLists holds the lists of all pools, by name. A list exists as long as a route of
// its pool.
type servedLists struct {
	off atomic.Bool

	mu  sync.Mutex
	all map[string]weak.Pointer[Served] // guarded by mu
}

// of returns the list of a pool.
func (l *servedLists) of(pool string) *Served {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.all[pool].Value(); s != nil {
		return s
	}
	maps.DeleteFunc(l.all, func(_ string, p weak.Pointer[Served]) bool { return p.Value() == nil })
	s := newServed(&l.off)
	if l.all == nil {
		l.all = make(map[string]weak.Pointer[Served])
	}
	l.all[pool] = weak.Make(s)
	return s
}

// living returns the lists of pools with a route.
func (l *servedLists) living() (all []*Served) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.all {
		if s := p.Value(); s != nil {
			all = append(all, s)
		}
	}
	return all
}
