package fair

import "github.com/caddy-offload/caddy-offload/internal/list"

// Aside reports whether the caller cannot get a permit until its key holds fewer.
func (s *Seat) Aside() bool { return s.aside }

// Waiting is the number of places that the waiters of a key take.
func (q *Queue) Waiting(name string) int {
	if k := q.keys.find(q.keyOf(name)); k != nil {
		return k.waiting - k.placeless
	}
	return 0
}

// Ahead estimates how many waiters are served before a newcomer: those of its key, as many
// of each other key, and from each other class as many as the weights allow.
func (q *Queue) Ahead(n Newcomer, oldest bool) int {
	c := q.classes[n.Class]
	own, others := 0, len(c.backlog)
	if f := q.flowOf(n); f != nil {
		own = f.turns.Len()
		if oldest && !n.Turn {
			own += f.all.Len()
		}
		if f.ready() > 0 {
			others--
		}
	}
	ahead := min(own+(own+1)*others, c.waiting)
	all := ahead
	for _, other := range q.classes {
		if other != c {
			all += int(min((int64(ahead)+1)*other.weight/c.weight, int64(other.waiting)))
		}
	}
	return all
}

// Order lists the waiters that may get a permit, in the order in which they would be served
// if no run ended and no caller came. For each of them it calls oldest with the number of
// permits that the remaining waiters take.
func (q *Queue) Order(now int64, load int, oldest func(load int) bool) []*Seat {
	var order []*Seat
	rests := make([]rest, len(q.classes))
	for i, c := range q.classes {
		rests[i] = c.rest(now)
	}
	for {
		next := -1
		for i := range rests {
			if len(rests[i].flows) > 0 && (next < 0 || rests[i].at < rests[next].at) {
				next = i
			}
		}
		if next < 0 {
			return order
		}
		s := rests[next].take(oldest(load))
		load -= s.Cost
		order = append(order, s)
	}
}

// rest has the seats of a class that Order has not listed yet.
type rest struct {
	at    int64
	class *class
	flows heap
	lines map[*flow]*ends
}

// ends marks the remaining waiters of a flow: the next one at its turn, the oldest, and the
// last.
type ends struct {
	of                 *flow
	turn, oldest, last *list.Element[*Seat]
	left               int
}

func (c *class) rest(now int64) rest {
	r := rest{at: c.at(now), class: c, lines: make(map[*flow]*ends, len(c.backlog))}
	for _, f := range c.backlog {
		copied := &flow{account: account{weight: 1}, tag: f.at(now), seq: f.seq}
		r.lines[copied] = &ends{of: f, turn: f.turns.Front(), oldest: f.line.Front(), last: f.line.Back(), left: f.ready()}
		r.flows.push(copied)
	}
	return r
}

func (r *rest) take(oldest bool) *Seat {
	f := r.flows[0]
	e := r.lines[f]
	s := e.take(oldest)
	charge := r.class.charge(e.of, s.Cost)
	r.at += max(r.class.scale(charge), 1)
	f.tag += max(f.scale(charge), 1)
	if e.left == 0 {
		r.flows.remove(f)
	} else {
		r.flows.fix(f)
	}
	return s
}

func (e *ends) take(oldest bool) (s *Seat) {
	e.left--
	switch {
	case e.turn != nil:
		s, e.turn = e.turn.Value, e.turn.Next()
	case oldest:
		s, e.oldest = e.oldest.Value, e.oldest.Next()
	default:
		s, e.last = e.last.Value, e.last.Prev()
	}
	return s
}
