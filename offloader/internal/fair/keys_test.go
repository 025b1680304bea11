package fair

import (
	"flag"
	"fmt"
	"hash/maphash"
	"runtime"
	"strings"
	"testing"
	"time"
)

var madeUp = flag.Int("made.up", 500_000, "how many keys the flood of made-up keys has")

const second = int64(time.Second)

// stall is a queue with its permits, in which each run takes a tenth of a second.
type stall struct {
	q       *Queue
	now     int64
	free    int
	running []*Seat // in order of their ends
	used    map[string]int
	absent  func(*Seat) // a run has ended
}

func newStall(r Rules) *stall {
	return &stall{q: New(r), now: second, free: r.Permits, used: map[string]int{}, absent: func(*Seat) {}}
}

func (s *stall) come(key string, cost int) *Seat {
	seat := new(Seat)
	s.q.Enter(seat, Newcomer{Key: key, Cost: cost}, s.now)
	s.q.Wait(seat, s.now)
	return seat
}

// pass lets time pass, and runs begin and end.
func (s *stall) pass(d time.Duration) {
	s.now += int64(d)
	for len(s.running) > 0 && s.now-s.running[0].granted >= second/10 {
		seat := s.running[0]
		s.running = s.running[1:]
		s.free += seat.Cost
		s.used[seat.Key()]++
		s.q.End(seat, s.now, true)
		s.absent(seat)
	}
	for s.free > 0 {
		seat := s.q.Next(s.now, true)
		if seat == nil || seat.Cost > s.free {
			return
		}
		s.free -= seat.Cost
		s.q.Grant(seat, s.now)
		s.running = append(s.running, seat)
	}
}

func one(permits int) Rules { return Rules{Keyed: true, Permits: permits, Weights: []int{1}} }

// Made-up keys, 100,000 a second, take one share together and a bounded memory.
func TestFloodOfMadeUpKeys(t *testing.T) {
	const clients, permits, places = 10, 8, 200
	s := newStall(one(permits))
	s.absent = func(seat *Seat) {
		if strings.HasPrefix(seat.Key(), "client") {
			s.come(seat.Key(), 1)
		}
	}
	for i := range 2 * clients {
		s.come(fmt.Sprint("client ", i%clients), 1)
	}
	for range 200 {
		s.pass(100 * time.Millisecond)
	}
	if s.total("client") == 0 {
		t.Fatal("no client was served")
	}
	clear(s.used)
	var start, end runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	known := s.q.keys.known
	for i := range *madeUp {
		s.come(fmt.Sprint("made up ", i), 1)
		for s.waiting() > places {
			s.q.Leave(s.q.Greediest(Newcomer{Turn: true, Cost: 1}, true), s.now)
		}
		s.pass(10 * time.Microsecond)
	}
	runtime.GC()
	runtime.ReadMemStats(&end)
	grown := int64(end.HeapAlloc) - int64(start.HeapAlloc)
	share := float64(s.total("client")) / float64(s.total(""))
	t.Logf("%d made-up keys: %d kB more memory, %d keys known, clients got %.1f %% of the runs", *madeUp, grown/1000, s.q.keys.known, 100*share)
	if want := clients / (clients + 1.0); share < want-0.01 {
		t.Errorf("clients got %.3f of the runs, want %.3f", share, want)
	}
	if grown > 2_000_000 || s.q.keys.known != known {
		t.Errorf("%d bytes more, %d keys known after %d", grown, s.q.keys.known, known)
	}
}

func (s *stall) waiting() int { n, _ := s.q.Count(0); return n }

func (s *stall) total(prefix string) int {
	n := 0
	for key, runs := range s.used {
		if strings.HasPrefix(key, prefix) {
			n += runs
		}
	}
	return n
}

// The keys that begin a flood share the line of new keys, but for a key of which a run has
// ended, and the queue goes on when their runs end.
func TestKeysThatBeginAFlood(t *testing.T) {
	t.Parallel()
	s := newStall(one(3))
	s.come("ended", 1)
	s.pass(0)
	s.pass(150 * time.Millisecond)
	s.come("ended", 1)
	runs := s.come("suspect", 1)
	s.come("suspect", 1)
	s.pass(0)
	s.come("suspect", 1)
	for i := range floodAtLeast + 1 {
		s.come(fmt.Sprint(i), 1)
	}
	bucket := s.q.classes[0].bucket
	if !s.q.keys.find("ended").known || s.q.keys.find("suspect").known || bucket.ready() != floodAtLeast+2 || runs.flow == bucket {
		t.Errorf("%d share the line", bucket.ready())
	}
	for range 2 * floodAtLeast {
		s.pass(100 * time.Millisecond)
	}
	if s.waiting() != 0 || s.q.classes[0].active != 0 || s.q.keys.find("suspect") != nil || s.q.keys.known != 1 {
		t.Errorf("%d wait, %d flows, %d keys known at the end", s.waiting(), s.q.classes[0].active, s.q.keys.known)
	}
}

// apartFrom returns a key whose sighting the given ones do not replace. The table of
// sightings has no second place for a key, and there has been a flood.
func (s *stall) apartFrom(crowd []string) string {
	place := func(name string) uint64 { return maphash.String(s.q.keys.seed, name) % sightings }
	taken := make(map[uint64]bool)
	for _, name := range crowd {
		taken[place(name)] = true
	}
	name := "client"
	for i := 0; taken[place(name)]; i++ {
		name = fmt.Sprint("client ", i)
	}
	return name
}

// In a flood a client that comes back a second later is known from then on, and the flood
// is over after a second without new keys.
func TestKeysThatComeBackInAFlood(t *testing.T) {
	t.Parallel()
	s := newStall(one(1))
	visit := func(name string) bool {
		k := s.q.keys.obtain(name, s.now)
		known := k.known
		s.q.keys.release(k, s.now)
		return known
	}
	crowd := func(at int64) (names []string) {
		for i := range floodAtLeast + 2 { // the last one is the first sighting
			names = append(names, fmt.Sprint("made up ", at, " ", i))
		}
		return names
	}
	flood := func() {
		for _, name := range crowd(s.now) {
			visit(name)
		}
	}
	flood()
	client := s.apartFrom(crowd(s.now + second))
	if visit(client) {
		t.Error("a new key was known in a flood")
	}
	s.now += second / 2
	if visit(client) {
		t.Error("a new key was known after half a second")
	}
	s.now += second / 2
	flood()
	if !visit(client) {
		t.Error("a key that came back was not known")
	}
	if visit("another") {
		t.Error("a new key was known in the second second of a flood")
	}
	s.now += second
	if visit("late") {
		t.Error("a new key was known in the second after a flood")
	}
	s.now += second
	if !visit("after") {
		t.Error("a new key was not known after the flood")
	}
	flood()
	s.now += second
	for range 2 * floodAtLeast {
		visit("busy")
	}
	s.now += second
	if !visit("one more") {
		t.Error("a single client has kept up a flood")
	}
	s.now += int64(idleFor)
	flood()
	if s.q.keys.seen == nil || s.q.keys.sight(client, s.now) != 0 {
		t.Error("a sighting was remembered for more than a minute")
	}
}

// Keys are forgotten a minute after their last call, and beyond a number of them the longest
// idle one is.
func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	s := newStall(one(1))
	visit := func(name string) { s.q.keys.release(s.q.keys.obtain(name, s.now), s.now) }
	visit("a")
	busy := s.come("busy", 1)
	s.now += int64(idleFor) - 1
	visit("b")
	if s.q.keys.find("a") == nil {
		t.Error("forgotten too early")
	}
	s.now += 2
	visit("b")
	if s.q.keys.find("a") != nil || s.q.keys.find("busy") == nil || s.q.keys.find("b") == nil {
		t.Error("the wrong keys were forgotten")
	}
	s.q.Leave(busy, s.now)
	for range 40 { // faster than they are forgotten, and no flood
		s.now += second
		for i := range max(floodAtLeast, s.q.keys.known/floodShare) - 1 {
			visit(fmt.Sprint(s.now, " ", i))
		}
	}
	if n := len(s.q.keys.named); n < maxIdle || n > maxIdle+2 || s.q.keys.flood {
		t.Errorf("%d keys are known, %v", n, s.q.keys.flood)
	}
}

// Long keys do not use up the memory, and stay different.
func TestLongKeys(t *testing.T) {
	t.Parallel()
	s := newStall(Rules{Keyed: true, PerKey: 1, Permits: 2, Weights: []int{1}})
	long := strings.Repeat("x", 10_000)
	a, b := s.come(long+"a", 1), s.come(long+"b", 1)
	again := s.come(long+"a", 1)
	if len(a.Key()) > maxKey || a.Key() == b.Key() || again.Key() != a.Key() || !again.Aside() {
		t.Errorf("keys of %d bytes, %v", len(a.Key()), again.Aside())
	}
}

// Seats, keys and flows are used again: a queue that goes on allocates nothing.
func TestQueueAllocatesNothing(t *testing.T) {
	s := newStall(Rules{Keyed: true, Permits: 4, Weights: []int{2, 1}})
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	seat, i := new(Seat), 0
	step := func() {
		i++
		s.now += second / 10
		s.q.Enter(seat, Newcomer{Key: names[i%len(names)], Class: i % 2, Cost: 1}, s.now)
		s.q.Wait(seat, s.now)
		s.q.Grant(s.q.Next(s.now, true), s.now)
		s.q.End(seat, s.now, true)
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
