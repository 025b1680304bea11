package pools

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// maxPendingEvents bounds the events that wait for slow handlers.
const maxPendingEvents = 64

// Listener is the events app of a configuration, with the context of ours.
type Listener struct {
	Ctx    caddy.Context
	Events *caddyevents.App
}

// listening is the listener of the configuration that rules, nil without.
var (
	Listening       atomic.Pointer[Listener]
	ListeningLeases = Leases[*Listener]{Apply: Listening.Store}
)

// event waits to be emitted.
type event struct {
	name string
	data map[string]any
}

// events are emitted one after the other on a goroutine that ends with the last
// of them: handlers may take their time, and the pool's callers must not wait for
// them.
var events struct {
	mu      sync.Mutex
	pending []event
	busy    bool // there is such a goroutine
}

// emit hands an event to the handlers of the current configuration. It never waits.
func emit(name string, data map[string]any) {
	l := Listening.Load()
	if l == nil || !l.Events.ShouldEmit(name) {
		return
	}
	if !enqueue(event{name, data}) {
		logEvent("an event was dropped: its handlers are too slow", name, zap.Any("data", data))
	}
}

func enqueue(e event) bool {
	events.mu.Lock()
	defer events.mu.Unlock()
	if len(events.pending) == maxPendingEvents {
		return false
	}
	events.pending = append(events.pending, e)
	if !events.busy {
		events.busy = true
		go emitPending()
	}
	return true
}

func emitPending() {
	for e, ok := nextEvent(); ok; e, ok = nextEvent() {
		e.emit()
	}
}

func nextEvent() (event, bool) {
	events.mu.Lock()
	defer events.mu.Unlock()
	if len(events.pending) == 0 {
		events.busy = false
		return event{}, false
	}
	e := events.pending[0]
	events.pending = events.pending[1:]
	return e, true
}

// emit calls the handlers of the current configuration: a pool outlives the configuration
// that it had when the event was made. A panic of a handler would end the process here.
func (e event) emit() {
	defer func() {
		if v := recover(); v != nil {
			logEvent("a handler of an event has panicked", e.name, zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	if l := Listening.Load(); l != nil && l.Ctx.Err() == nil {
		l.Events.Emit(l.Ctx, e.name, e.data)
	}
}

func logEvent(text, name string, fields ...zap.Field) {
	if c := caddy.Log().Named("offload").Check(zapcore.ErrorLevel, text); c != nil {
		c.Write(append([]zap.Field{zap.String("event", name)}, fields...)...)
	}
}
