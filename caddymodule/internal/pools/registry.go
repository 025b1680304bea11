package pools

import (
	"sync"

	"github.com/caddy-offload/caddy-offload/internal/list"
)

// Request is a request in a pool, with the part that this package needs.
type Request interface {
	// NoteDeparture counts the run as abandoned if its client has left. It is called when
	// numbers are shown, since the client of a run that goes on without it is not watched.
	NoteDeparture()
}

// registry lists the requests of one pool that are not in its queue: those that upload
// their bodies, run, or receive the rest of their responses. A request that is rejected
// on arrival is never listed.
type registry struct {
	mu       sync.Mutex
	requests list.List[Request] // the oldest in front
}

// Entry is a request's element of the registry, embedded in the request. The registry's
// lock guards it.
type Entry = list.Element[Request]

func (l *registry) Add(e *Entry, r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Value = r
	l.requests.Push(e)
}

func (l *registry) Remove(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests.Remove(e)
}

// All returns the requests in the order in which they were added. They may end at any time.
func (l *registry) All() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Request, 0, l.requests.Len())
	for e := l.requests.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value)
	}
	return all
}
