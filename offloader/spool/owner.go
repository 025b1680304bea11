package spool

// Owner says whose a body is. The zero value is nobody's, which is bounded by the
// budget alone.
type Owner struct {
	// Client is its address, or that of its network. Those without one are all
	// one client.
	Client [16]byte
	// Pool is the name of the pool that the body is for.
	Pool string
}

// Owned is for sources of bodies that belong to somebody. Owner is called before
// the first byte is kept, and may be called again.
type Owned interface{ Owner() Owner }

// How much an owner may have: so many times as much as it leaves free. Who has much
// can so take less than who has little, and there is always room for one who has
// nothing, without that anything has to be taken away from somebody.
const (
	// timesFree is for what a client has in one pool: two thirds if it is alone.
	timesFree = 2
	// timesFreeSmall is for the first block of a body, so that large bodies leave
	// room for small ones of the same client.
	timesFreeSmall = 5
	// fewUploads is how many more uploads than that it may have: where there are
	// few places, clients need more than one.
	fewUploads = 3
)

// levels are what a client has in one pool, all that it has, and all that a pool has.
// Each leaves a part of what the first one leaves.
var levels = [...]struct {
	ofClient, ofPool bool
	part             int64
}{{true, true, 1}, {true, false, 3}, {false, true, 4}}

// maxFree keeps products from overflowing. Nobody has so much.
const maxFree = 1 << 56

// member is what takes of a budget: a store, which may be that of an upload.
type member struct {
	holder Holder
	owned  Owned // nil for nobody's
	who    Owner // once it is known

	// Guarded by the budget's mu.
	taken [resources]int64
	order uint64 // of the uploads, zero for what is none
}

// meet finds out who the owner is. It is called without a lock.
func (m *member) meet() {
	if m.owned != nil && m.who == (Owner{}) {
		m.who = m.owned.Owner()
	}
}

// accountKey is a client in a pool, a client, or a pool.
type accountKey struct {
	holder Holder
	level  int
	who    Owner
}

// account returns the owner's at a level.
func (m *member) account(level int) accountKey {
	who := m.who
	if !levels[level].ofClient {
		who.Client = [16]byte{}
	}
	if !levels[level].ofPool {
		who.Pool = ""
	}
	return accountKey{m.holder, level, who}
}

// accounts are what owners have. Who has nothing has none.
type accounts map[accountKey][resources]int64

// held returns what the client has in this pool.
func (a accounts) held(m *member, r resource) int64 { return a[m.account(0)][r] }

func (a accounts) count(m *member, r resource, n int64) {
	if m.who == (Owner{}) {
		return
	}
	for level := range levels {
		key := m.account(level)
		held := a[key]
		held[r] += n
		if held == ([resources]int64{}) {
			delete(a, key)
		} else {
			a[key] = held
		}
	}
}

// ask is what somebody wants of a budget.
type ask struct {
	of    resource
	n     int64
	small bool // it is the beginning of a body
}

// fits reports whether there is room, and leaves enough for others. It requires
// b.mu.
func (b *Budget) fits(m *member, want ask) bool {
	free := b.limits.of(want.of) - b.used[m.holder][want.of] - want.n
	switch {
	case free < 0:
		return false
	case m.who == (Owner{}):
		return true
	}
	times, few := int64(timesFree), int64(0)
	if want.small {
		times = timesFreeSmall
	}
	if want.of == places {
		few = fewUploads
	}
	free = min(free, maxFree)
	for level, l := range levels {
		held := b.accounts[m.account(level)][want.of] + want.n - few
		most := (l.part*(times+1) - 1) * free
		switch {
		case held <= most:
		case level == 0 && held <= most+free && held-b.newer(m, want.of) <= most: // the newest has to give way
		default:
			return false
		}
	}
	return true
}

// couldFit reports whether there is room when nobody else has anything.
func (b *Budget) couldFit(m *member, want ask) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	alone := Budget{limits: b.limits}
	return alone.fits(m, want)
}

// newer returns what later uploads of the same owner have, which are not complete:
// so the newest are refused first, and not all at once. It requires b.mu.
func (b *Budget) newer(m *member, r resource) (n int64) {
	if m.order == 0 {
		return 0
	}
	for u := range b.uploads {
		if u.member.who == m.who && u.member.order > m.order {
			n += u.member.taken[r]
		}
	}
	return n
}
