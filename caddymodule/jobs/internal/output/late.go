package output

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// errLeft is the error of a write whose client has left.
var errLeft = fmt.Errorf("the client left: %w", context.Canceled)

// Late is the writer of a run whose client waits for its response. Until the response
// begins, it is open where the response goes: to the client, or into the store, when the
// client has been given a job instead. A zero Late needs Init.
type Late struct {
	client  http.ResponseWriter
	applied string // the field Preference-Applied of a response to the client

	mu      sync.Mutex // guards the rest and the client
	decided sync.Cond  // place has changed
	place   place
	header  http.Header // of the run
	outer   http.Header // of the client before the run; nil while the client has it
	stored  *Stored     // at the place inStore
	status  int         // zero before the response
}

// place is where the response goes.
type place uint8

const (
	open     place = iota // it is not decided
	held                  // the run waits until it is decided
	toClient              // the client gets it
	inStore               // it is stored
	dropped               // the client has left, or there is none
)

// Init makes a zero Late the writer for a client. applied is the value of the field
// Preference-Applied, empty for none.
func (l *Late) Init(client http.ResponseWriter, applied string) {
	l.client, l.applied, l.header = client, applied, client.Header().Clone()
	l.decided.L = &l.mu
}

// Hold makes a response that begins now wait until Store, Continue or Drop is called. It
// returns false if the response goes to the client already.
func (l *Late) Hold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place != open {
		return false
	}
	l.place = held
	return true
}

// Store makes the response go into the store.
func (l *Late) Store(a Attempt) {
	l.decide(inStore, func() { l.stored = &Stored{attempt: a} })
}

// Continue undoes Hold.
func (l *Late) Continue() { l.decide(open, func() {}) }

// Drop discards the response, unless it is decided where it goes. It returns false if that is
// the client.
func (l *Late) Drop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place == open || l.place == held {
		l.place = dropped
		l.decided.Broadcast()
	}
	return l.place != toClient
}

func (l *Late) decide(p place, prepare func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place == held {
		prepare()
		l.place = p
		l.restore()
		l.decided.Broadcast()
	}
}

// remember keeps the header of the client as it was before the run. It requires l.mu.
func (l *Late) remember() {
	if l.outer == nil {
		l.outer = l.client.Header().Clone()
	}
}

// restore undoes what informational responses have done to the header of the client. It
// requires l.mu.
func (l *Late) restore() {
	l.remember()
	clear(l.client.Header())
	maps.Copy(l.client.Header(), l.outer.Clone())
}

// Await is called when the run has ended. It returns the writer that stores the response, nil
// if it is not stored, and waits while that is held. Then there is no response to hold.
func (l *Late) Await() *Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.place == held {
		l.decided.Wait()
	}
	if l.place == open {
		l.place = dropped
	}
	return l.stored
}

// Status returns the status of the response to the client, zero if it has not begun.
func (l *Late) Status() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place != toClient {
		return 0
	}
	return l.status
}

// End ends a response that is complete: its trailers follow.
func (l *Late) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.place {
	case toClient:
		maps.Copy(l.client.Header(), l.header)
	case inStore:
		maps.Copy(l.stored.Header(), l.header)
		l.stored.End()
	}
}

// Header returns the fields of the response. It belongs to the run.
func (l *Late) Header() http.Header { return l.header }

// WriteHeader begins the response, and decides where it goes if that is open.
func (l *Late) WriteHeader(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(status)
}

// begin requires l.mu.
func (l *Late) begin(status int) {
	if l.status != 0 {
		return
	}
	if status < http.StatusOK {
		l.inform(status)
		return
	}
	for l.place == held {
		l.decided.Wait()
	}
	l.status = status
	switch l.place {
	case open:
		l.place = toClient
		l.give()
		if l.applied != "" {
			l.client.Header().Add("Preference-Applied", l.applied)
		}
		l.client.WriteHeader(status)
	case inStore:
		maps.Copy(l.stored.Header(), l.added())
		l.stored.WriteHeader(status)
	}
}

// inform passes on an informational response. It requires l.mu.
func (l *Late) inform(status int) {
	if l.place == open {
		l.remember()
		l.give()
		l.client.WriteHeader(status)
	}
}

// give makes the fields of the client those of the run. It requires l.mu.
func (l *Late) give() {
	clear(l.client.Header())
	maps.Copy(l.client.Header(), l.header)
}

// added returns the fields that the run has set. The others are those of answers to this
// client. It requires l.mu.
func (l *Late) added() http.Header {
	h := l.header.Clone()
	maps.DeleteFunc(h, func(name string, values []string) bool { return slices.Equal(values, l.outer[name]) })
	return h
}

// Write sends or stores bytes of the response. It blocks while the client does not take
// them.
func (l *Late) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(http.StatusOK)
	switch l.place {
	case toClient:
		return l.client.Write(p)
	case inStore:
		return l.stored.Write(p)
	}
	return 0, errLeft
}

// Flush sends buffered bytes to the client.
func (l *Late) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(http.StatusOK)
	if l.place == toClient {
		_ = http.NewResponseController(l.client).Flush() // the next write reports a client that has left
	}
}

var (
	_ http.ResponseWriter = (*Late)(nil)
	_ http.Flusher        = (*Late)(nil)
)
