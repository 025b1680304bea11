package pools

import (
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// maxPendingEvents bounds the events that wait for slow handlers.
const maxPendingEvents = 64

// Listener is Caddy's events app of a configuration, with the context of the offload app.
type Listener struct {
	Ctx    caddy.Context
	Events *caddyevents.App
}

// event waits to be emitted.
type event struct {
	name string
	data map[string]any
}

// Events are the events of pools that wait for the handlers of a configuration. One
// goroutine emits them in order and ends with the last one: handlers may be slow, and
// callers of the pools must not wait for them. The zero value is ready.
type Events struct {
	// Listeners are the listeners of all configurations. Events go to the last one.
	Listeners Leases[*Listener]

	mu      sync.Mutex // guards the rest
	pending []event
	busy    bool // there is such a goroutine
}

// emit hands an event to the handlers of the current configuration. It never waits.
func (q *Events) emit(name string, data map[string]any) {
	l := q.Listeners.Last()
	if l == nil || !l.Events.ShouldEmit(name) {
		return
	}
	if !q.enqueue(event{name, data}) {
		Logger().Error("an event was dropped: its handlers are too slow", zap.String("event", name), zap.Any("data", data))
	}
}

func (q *Events) enqueue(e event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == maxPendingEvents {
		return false
	}
	q.pending = append(q.pending, e)
	if !q.busy {
		q.busy = true
		go q.emitPending()
	}
	return true
}

func (q *Events) emitPending() {
	for e, ok := q.next(); ok; e, ok = q.next() {
		q.call(e)
	}
}

func (q *Events) next() (event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		q.busy = false
		return event{}, false
	}
	e := q.pending[0]
	q.pending = q.pending[1:]
	return e, true
}

// call calls the handlers of the current configuration, which may be newer than the event.
// It recovers panics of handlers, which would end the process here.
func (q *Events) call(e event) {
	defer func() {
		if v := recover(); v != nil {
			Logger().Error("a handler of an event has panicked", zap.String("event", e.name), zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	if l := q.Listeners.Last(); l != nil && l.Ctx.Err() == nil {
		l.Events.Emit(l.Ctx, e.name, e.data)
	}
}
