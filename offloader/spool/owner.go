package spool

// Owner identifies the client and the pool that a body counts for. Bodies of the zero Owner
// are bounded by the budget alone.
type Owner struct {
	// Client is the address of the client or of its network. All clients without an address
	// count as one.
	Client [16]byte
	// Pool is the name of the pool of the request.
	Pool string
}

// Owned is implemented by sources of bodies with an owner. Owner is called before the
// first byte is kept, and may be called again.
type Owned interface{ Owner() Owner }

// An owner may use this many times as much of a resource as it leaves free. So owners with
// much can take less than owners with little, and there is always room for a new owner,
// without taking anything back.
const (
	// timesFree is for one client in one pool: two thirds if it is alone.
	timesFree = 2
	// timesFreeSmall is for the first block of a body, so that large bodies leave
	// room for small ones of the same client.
	timesFreeSmall = 5
	// fewUploads is the number of uploads that each owner may have in addition: with few
	// places, clients need more than one.
	fewUploads = 3
)

// levels are the three shares that are checked: of a client in one pool, of the client in
// all pools, and of a pool. part is how many
// times as much as the first one each of them may take of the space that is free.
var levels = [...]struct {
	ofClient, ofPool bool
	part             int64
}{{true, true, 1}, {true, false, 3}, {false, true, 4}}

// maxFree prevents overflows of products. It is above all real amounts.
const maxFree = 1 << 56

// member is a user of a budget: a store, which may belong to an upload.
type member struct {
	holder Holder
	owned  Owned // nil without an owner
	owner  Owner // set by meet

	// Guarded by the budget's mu.
	taken [resources]int64
	order uint64 // of the uploads, zero for a member that is no upload
}

// meet asks the source for its owner. It is called without a lock.
func (m *member) meet() {
	if m.owned != nil && m.owner == (Owner{}) {
		m.owner = m.owned.Owner()
	}
}

// accountKey identifies an account: of a client in a pool, of a client, or of a pool.
type accountKey struct {
	holder Holder
	level  int
	owner  Owner
}

// account returns the owner's account at a level.
func (m *member) account(level int) accountKey {
	owner := m.owner
	if !levels[level].ofClient {
		owner.Client = [16]byte{}
	}
	if !levels[level].ofPool {
		owner.Pool = ""
	}
	return accountKey{m.holder, level, owner}
}

// accounts holds the amounts that owners use. An owner without any has no account.
type accounts map[accountKey][resources]int64

// held returns the amount that the client of m uses in its pool.
func (a accounts) held(m *member, r resource) int64 { return a[m.account(0)][r] }

func (a accounts) count(m *member, r resource, n int64) {
	if m.owner == (Owner{}) {
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

// ask is a request to a budget.
type ask struct {
	of    resource
	n     int64
	small bool // it is the beginning of a body
}

// fits reports whether the budget has room and m would leave enough for other owners. It
// requires b.mu.
func (b *Budget) fits(m *member, want ask) bool {
	free := b.limits.of(want.of) - b.used[m.holder][want.of] - want.n
	switch {
	case free < 0:
		return false
	case m.owner == (Owner{}):
		return true
	}
	times, few := int64(timesFree), int64(0)
	if want.small {
		times = timesFreeSmall
	}
	if want.of == uploads {
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

// couldFit reports whether there would be room in an empty budget.
func (b *Budget) couldFit(m *member, want ask) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	alone := Budget{limits: b.limits}
	return alone.fits(m, want)
}

// newer returns the amount of the same owner's uploads that began later and are not
// complete. So the newest uploads are rejected first, and not all at once. It requires
// b.mu.
func (b *Budget) newer(m *member, r resource) (n int64) {
	if m.order == 0 {
		return 0
	}
	for u := range b.uploads {
		if u.member.owner == m.owner && u.member.order > m.order {
			n += u.member.taken[r]
		}
	}
	return n
}
