package fair

import (
	"crypto/sha256"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/list"
)

const (
	// maxIdle is the number of keys without calls that are remembered.
	maxIdle = 16_384
	// idleFor is how long they are.
	idleFor = time.Minute
	// maxKey is the longest key that is kept as it is.
	maxKey = 128
	// A flood is a second with more new keys than floodAtLeast, and than one floodShare-th
	// of the known keys.
	floodAtLeast = 64
	floodShare   = 4
	// sightings is the number of new keys that are remembered in a flood.
	sightings = 8192
)

// key has the calls of one fairness key, waiting and running. It is kept for a while after the
// last one, so that what the key has used still counts.
type key struct {
	name      string
	known     bool // it has its own flows
	held      int  // permits
	waiting   int  // callers
	placeless int  // those of them without a place
	inLine    int  // permits that those of them take that may get some
	aside     list.List[*Seat]
	flows     []*flow // by class
	idle      list.Element[*key]
	since     int64 // idle
}

// alone reports whether the key has no call.
func (k *key) alone() bool { return k.held == 0 && k.waiting == 0 }

// waits counts a waiter of the key, times by.
func (k *key) waits(s *Seat, by int) {
	k.waiting += by
	if s.Placeless {
		k.placeless += by
	}
}

// allows reports whether a caller of the key may get cost permits more, if each key may
// hold bound permits.
func (k *key) allows(cost, bound int) bool {
	taken := k.held + k.inLine
	return bound == 0 || k.name == "" || taken == 0 || taken+cost <= bound
}

// keys holds the keys that have calls, and those that had some in the last minute.
type keys struct {
	named map[string]*key
	known int
	idle  list.List[*key] // the longest idle one first
	free  []*key
	flows []*flow // free ones

	second int64 // number of the second that is counted
	fresh  int   // keys in it that were not seen before
	flood  bool
	young  []*key     // the keys that are known since this second
	seen   []sighting // nil until the first flood
	seed   maphash.Seed
}

// sighting is a new key in a flood.
type sighting struct {
	hash uint64
	at   int64
}

// short returns a key of bounded length.
func short(name string) string {
	if len(name) <= maxKey {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return string(sum[:])
}

func (t *keys) find(name string) *key { return t.named[short(name)] }

// obtain returns the key of a caller, and creates a new one if needed. Callers without a
// key share the empty key, which is always known.
func (t *keys) obtain(name string, now int64) *key {
	name = short(name)
	k := t.named[name]
	if k == nil {
		t.forget(now)
		k = t.unused()
		k.name = name
		if name == "" || t.welcomes(name, now) {
			k.name, k.known = strings.Clone(name), true
			t.known++
			t.young = append(t.young, k)
		}
		t.named[k.name] = k
		return k
	}
	if k.since != 0 {
		t.idle.Remove(&k.idle)
		k.since = 0
	}
	return k
}

func (t *keys) unused() *key {
	if n := len(t.free); n > 0 {
		k := t.free[n-1]
		t.free = t.free[:n-1]
		return k
	}
	return new(key)
}

// release is called when a call of the key has ended, which may have been its last one.
func (t *keys) release(k *key, now int64) {
	switch {
	case !k.alone() || k.since != 0:
		return
	case !k.known:
		t.drop(k)
		return
	}
	k.since = max(now, 1)
	k.idle.Value = k
	t.idle.Push(&k.idle)
	t.forget(now)
}

// forget drops keys that have been idle for long, a few at a time.
func (t *keys) forget(now int64) {
	for range 2 {
		e := t.idle.Front()
		if e == nil || (t.idle.Len() <= maxIdle && now-e.Value.since < int64(idleFor)) {
			return
		}
		t.idle.Remove(e)
		t.drop(e.Value)
	}
}

func (t *keys) drop(k *key) {
	delete(t.named, k.name)
	if k.known {
		t.known--
	}
	for i, f := range k.flows {
		if f != nil && len(t.flows) < maxIdle {
			t.flows = append(t.flows, f)
		}
		k.flows[i] = nil
	}
	*k = key{flows: k.flows}
	if len(t.free) < maxIdle {
		t.free = append(t.free, k)
	}
}

// suspects returns the keys that came in the second in which the flood began: they are new,
// and none of their runs has ended.
func (t *keys) suspects() (all []*key) {
	for _, k := range t.young {
		ran := slices.ContainsFunc(k.flows, func(f *flow) bool { return f != nil && f.run > 0 })
		if k.known && k.name != "" && !k.alone() && !ran {
			all = append(all, k)
		}
	}
	t.young = t.young[:0]
	return all
}

// flow returns the key's flow in a class. All keys that are not known share one flow.
func (t *keys) flow(k *key, c *class) *flow {
	if !k.known {
		return c.bucket
	}
	for len(k.flows) <= c.index {
		k.flows = append(k.flows, nil)
	}
	f := k.flows[c.index]
	if f == nil {
		f = new(flow)
		if n := len(t.flows); n > 0 {
			f = t.flows[n-1]
			t.flows = t.flows[:n-1]
		}
		*f = flow{account: account{weight: 1}, class: c}
		k.flows[c.index] = f
	}
	return f
}

// welcomes reports whether a new key becomes a known one: if there is no flood, or if the
// key came before, a second ago at least.
func (t *keys) welcomes(name string, now int64) bool {
	most := max(floodAtLeast, t.known/floodShare)
	if second := now / int64(time.Second); second != t.second {
		t.flood = t.fresh > most && second == t.second+1
		t.second, t.fresh = second, 0
		t.young = t.young[:0]
	}
	if !t.flood {
		t.fresh++
		t.flood = t.fresh > most
		return !t.flood
	}
	ago := t.sight(name, now)
	if ago == 0 {
		t.fresh++
	}
	return ago >= time.Second
}

// sight notes a new key in a flood. It returns the time since the key was first seen, zero
// if that was not within a minute.
func (t *keys) sight(name string, now int64) time.Duration {
	if t.seen == nil {
		t.seen, t.seed = make([]sighting, sightings), maphash.MakeSeed()
	}
	hash := maphash.String(t.seed, name)
	s := &t.seen[hash%sightings]
	ago := time.Duration(now - s.at)
	if s.hash != hash || ago > idleFor {
		*s = sighting{hash, now}
		return 0
	}
	return max(ago, 1)
}
