package offloader

import "time"

// Bounds of the turns that a pool keeps. An entry takes about 80 bytes.
const (
	maxTurns = 10_000
	// turnsOfOne is how many turns one address can have at once: clients that share
	// it are not turned away for that, and one of them cannot take all.
	turnsOfOne = 32
	// turnKept is how long a turn is kept when its time has come.
	turnKept = time.Minute
	// togetherFor is how soon after a refusal another one of the same address, on
	// another connection, is taken for one of another client: no client is back so soon.
	togetherFor = 5 * time.Millisecond
)

// turn is when a refused client was told to come back.
type turn struct {
	client Client
	since  moment // when it was refused first
	place  moment // when its turn is, by its place in the line
	at     moment // when it was told to come at last, not before place

	// Places in turns.all, zero for none.
	sibling      int32 // the next one of the address
	older, newer int32 // in order of refusal; newer also links the free ones
}

// turns are kept for clients that were refused, by address. The zero value is ready.
// It allocates when it grows, and never shrinks.
type turns struct {
	of             map[[16]byte]address
	all            []turn // the first is not used
	free           int32
	oldest, newest int32
	len            int
}

// address has at least one turn.
type address struct {
	last int32 // the last refused one
	here int32 // how many requests of it have come since it has one, and have no answer yet
}

// known is what is kept for a client's address.
type known struct {
	own   int32 // the client's own that is still to come, by its connection
	early int32 // the next of the address that is still to come
	due   int32 // one whose time has come, the client's own if there is one
	n     int
	since moment // of the last refusal that has a turn
	alone bool   // no other request of the address is here
}

// returns reports whether a refused request with no turn of its own is taken for one of
// a client that has come back early, rather than of another one behind its address.
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
		case e.at+moment(turnKept) < now:
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
		k.due = 0 // it has one that is still to come, and takes no other's
	}
	return k
}

// add keeps a turn, unless there are too many.
func (t *turns) add(c *Client, at, now moment) {
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
	t.all[i] = turn{client: *c, since: now, place: at, at: at, sibling: a.last, older: t.newest}
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

// again returns when a client that has come back early was told to come, and is told
// now: its turn is where it was, but in whole seconds, and it may take it only if it
// obeys this time.
func (t *turns) again(i int32, now moment) time.Duration {
	e := &t.all[i]
	d := wholeSeconds(time.Duration(e.place - now))
	e.at = now + moment(d)
	return d
}

// sweep forgets the oldest turns that were not taken.
func (t *turns) sweep(now moment) {
	for t.oldest != 0 && t.all[t.oldest].at+moment(turnKept) < now {
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

// unlink takes a turn out of those of its address.
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

// count counts requests of an address with turns that come, or get their answer.
func (t *turns) count(c *Client, n int32) {
	if t.len == 0 || c.unknown() {
		return
	}
	if a, ok := t.of[c.Address]; ok {
		a.here = max(a.here+n, 0)
		t.of[c.Address] = a
	}
}
