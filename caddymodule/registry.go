package caddymodule

import "sync"

// request is a request in a pool, as far as the pool is concerned.
type request interface {
	// noteDeparture abandons the permit of a run whose client has left. The client of a
	// run that goes on without it is not watched.
	noteDeparture()
}

// registry lists the requests of one pool that are not in its queue: those that upload
// their bodies, run, or receive the rest of their responses. A request that is rejected
// on arrival is never listed.
type registry struct {
	mu          sync.Mutex
	front, back *entry // the oldest in front
	len         int
}

// entry is a request's place in the registry, a part of the request itself. It is guarded
// by the registry.
type entry struct {
	request    request
	next, prev *entry
}

func (l *registry) add(e *entry, r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.request, e.prev = r, l.back
	if l.back == nil {
		l.front = e
	} else {
		l.back.next = e
	}
	l.back = e
	l.len++
}

func (l *registry) remove(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.prev == nil {
		l.front = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.back = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.len--
}

// all returns the requests in order of their entry. They may end at any time.
func (l *registry) all() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]request, 0, l.len)
	for e := l.front; e != nil; e = e.next {
		all = append(all, e.request)
	}
	return all
}
