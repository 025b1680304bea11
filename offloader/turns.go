package offloader

import "time"

// Bounds of the turns that a pool keeps. An entry takes about 90 bytes.
const (
	maxTurns = 10_000
	// turnsOfOne limits the turns, that is the times to come back, that one client address
	// may have: enough for clients behind one address, and too few to take all turns of the
	// pool.
	turnsOfOne = 32
	// turnKept is how long a turn is kept after the whole second that was announced for it.
	turnKept = time.Minute
	// togetherFor is the time within which two rejections of one address belong to two
	// clients: no client comes back so soon.
	togetherFor = 5 * time.Millisecond
)

// turn is the time at which a rejected client should come back.
type turn struct {
	client  Client
	since   moment // the first rejection
	planned moment // the turn by its place in the line
	at      moment // the last announced time, not before planned
	whole   moment // the same for a client that comes back at a whole second

	// Indices in turns.all, zero for none.
	sibling      int32 // the next turn of the address
	older, newer int32 // in order of rejection; newer also links the free ones
}

// over reports whether a turn is no longer kept.
func (t *turn) over(now moment) bool { return t.whole+moment(turnKept) < now }

// turns holds the turns of rejected clients, by address. The zero value is ready. Its
// memory grows as needed, and never shrinks.
type turns struct {
	of             map[[16]byte]address
	all            []turn // the first is not used
	free           int32
	oldest, newest int32
	len            int
}

// address is an address with at least one turn.
type address struct {
	last int32 // the newest turn
	here int32 // calls since the address has a turn that are not answered yet
}

// known describes the turns of a client's address.
type known struct {
	own   int32 // the client's own turn in the future, by its connection
	early int32 // the earliest turn of the address in the future
	due   int32 // a turn whose time has come, the client's own if there is one
	n     int
	since moment // the last rejection that has a turn
	alone bool   // the address has no other call here
}

// returns reports whether a call without a turn of its connection counts as a client that
// comes back before its turn, and not as another client of the same address.
func (k *known) returns(now moment) bool {
	return k.n == 1 && k.early != 0 && k.alone && now-k.since > moment(togetherFor)
}

// find looks a client up.
func (t *turns) find(c *Client, now moment) (k known) {
	if t.len == 0 {
		return k
	}
	a := t.of[c.Address]
	k.alone = a.here == 1
	for i := a.last; i != 0; i = t.all[i].sibling {
		e := &t.all[i]
		own := e.client.Connection == c.Connection
		switch {
		case e.over(now):
			continue // to be swept
		case e.at > now && own:
			k.own = i
		case e.at <= now && (k.due == 0 || own || (t.all[k.due].client != *c && e.at < t.all[k.due].at)):
			k.due = i
		}
		if e.at > now && (k.early == 0 || e.at < t.all[k.early].at) {
			k.early = i
		}
		k.n++
		k.since = max(k.since, e.since)
	}
	if k.own != 0 && k.due != 0 && t.all[k.due].client != *c {
		k.due = 0 // its own turn is in the future, and it takes no other
	}
	return k
}

// add keeps a turn, unless there are too many.
func (t *turns) add(c *Client, r Retry, now moment) {
	t.sweep(now)
	if t.len >= maxTurns {
		return
	}
	if t.all == nil {
		t.all, t.of = make([]turn, 1), make(map[[16]byte]address)
	}
	i := t.free
	if i == 0 {
		t.all = append(t.all, turn{})
		i = int32(len(t.all) - 1)
	} else {
		t.free = t.all[i].newer
	}
	a := t.of[c.Address]
	at := now + moment(r.Turn)
	t.all[i] = turn{
		client: *c, since: now, planned: at, at: at, whole: now + moment(r.whole()),
		sibling: a.last, older: t.newest,
	}
	a.last = i
	t.of[c.Address] = a
	if t.newest != 0 {
		t.all[t.newest].newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
	t.len++
}

// again returns advice for a client that has come back before its turn, the turn i. The
// client keeps that turn, but may use it only from the returned time on, which is a second
// away at least.
func (t *turns) again(i int32, now moment) Retry {
	e := &t.all[i]
	d := advisable(time.Duration(e.planned - now))
	e.at = now + moment(d)
	e.whole = max(e.whole, now+moment(wholeSeconds(d)))
	return retryWith(d, wholeSeconds(time.Duration(e.whole-now)))
}

// sweep removes the turns that are no longer kept, whose clients have not come back. It starts
// at the oldest turn and stops at the first one that is still kept.
func (t *turns) sweep(now moment) {
	for t.oldest != 0 && t.all[t.oldest].over(now) {
		t.remove(t.oldest)
	}
}

func (t *turns) remove(i int32) {
	e := t.all[i]
	t.unlink(i, e)
	if e.older != 0 {
		t.all[e.older].newer = e.newer
	} else {
		t.oldest = e.newer
	}
	if e.newer != 0 {
		t.all[e.newer].older = e.older
	} else {
		t.newest = e.older
	}
	t.all[i] = turn{newer: t.free}
	t.free = i
	t.len--
}

// unlink removes a turn from its address.
func (t *turns) unlink(i int32, e turn) {
	a := t.of[e.client.Address]
	switch {
	case a.last != i:
		before := a.last
		for t.all[before].sibling != i {
			before = t.all[before].sibling
		}
		t.all[before].sibling = e.sibling
	case e.sibling != 0:
		a.last = e.sibling
		t.of[e.client.Address] = a
	default:
		delete(t.of, e.client.Address)
	}
}

// count counts the calls in progress of an address with turns: n is 1 when a call comes, -1
// when it is answered.
func (t *turns) count(c *Client, n int32) {
	if t.len == 0 || c.unknown() {
		return
	}
	if a, ok := t.of[c.Address]; ok {
		a.here = max(a.here+n, 0)
		t.of[c.Address] = a
	}
}
