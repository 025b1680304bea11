package pools

import "sync"

// Request is a request in a pool, as far as the pool is concerned.
type Request interface {
	// NoteDeparture abandons the permit of a run whose client has left. The client of a
	// run that goes on without it is not watched.
	NoteDeparture()
}

// registry lists the requests of one pool that are not in its queue: those that upload
// their bodies, run, or receive the rest of their responses. A request that is rejected
// on arrival is never listed.
type registry struct {
	mu          sync.Mutex
	front, back *Entry // the oldest in front
	len         int
}

// Entry is a request's place in the registry, a part of the request itself. It is guarded
// by the registry.
type Entry struct {
	request    Request
	next, prev *Entry
}

func (l *registry) Add(e *Entry, r Request) {
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

func (l *registry) Remove(e *Entry) {
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

// All returns the requests in order of their entry. They may end at any time.
func (l *registry) All() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Request, 0, l.len)
	for e := l.front; e != nil; e = e.next {
		all = append(all, e.request)
	}
	return all
}
