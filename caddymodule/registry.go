package caddymodule

import "sync"

// registry lists the requests of one pool that are in it and not in its queue:
// those whose bodies are taken in, which run, and which get the rest of their
// responses. Those in the queue are listed there. A request that is refused on
// arrival is never listed.
type registry struct {
	mu          sync.Mutex
	front, back *run // linked by next and prev, the oldest in front
	len         int
}

func (l *registry) add(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.prev = l.back
	if l.back == nil {
		l.front = r
	} else {
		l.back.next = r
	}
	l.back = r
	l.len++
}

func (l *registry) remove(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.prev == nil {
		l.front = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.back = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	l.len--
}

// all returns the requests in order of their entry. They may end at any time.
func (l *registry) all() []*run {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*run, 0, l.len)
	for r := l.front; r != nil; r = r.next {
		all = append(all, r)
	}
	return all
}
