package celerytest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Memory is a broker and a backend in memory. It implements all optional interfaces of both,
// and [System].
type Memory struct {
	watchers watchers

	mu       sync.Mutex                   // guards the fields below
	arrived  chan struct{}                // closed and replaced when a message arrives
	queues   map[string][]*celery.Message // by name, the oldest message first
	absent   map[string]bool              // removed queues
	stored   map[string][]byte            // last states, by task
	down     error                        // returned by Publish and Watch, nil for none
	workers  map[*inbox]struct{}          // receivers of commands
	follower map[int]func([]byte)         // receivers of events
	follows  int                          // next key of follower
}

// inbox takes the commands for one worker.
type inbox struct{ commands chan celery.Command }

// NewMemory returns a system without messages, in which all queues exist.
func NewMemory() *Memory {
	return &Memory{
		arrived:  make(chan struct{}),
		queues:   make(map[string][]*celery.Message),
		absent:   make(map[string]bool),
		stored:   make(map[string][]byte),
		workers:  make(map[*inbox]struct{}),
		follower: make(map[int]func([]byte)),
	}
}

// Broker implements [System].
func (m *Memory) Broker() celery.Broker { return m }

// Backend implements [System].
func (m *Memory) Backend() celery.Backend { return m }

// Fail makes Publish and Watch return err from now on. Nil ends that.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// RemoveQueue makes messages to a queue unroutable.
func (m *Memory) RemoveQueue(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.absent[name] = true
}

// Publish implements [celery.Broker].
func (m *Memory) Publish(ctx context.Context, message *celery.Message) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return m.down
	}
	if m.absent[message.RoutingKey] {
		return fmt.Errorf("%w: '%s'", celery.ErrUnroutable, message.RoutingKey)
	}
	m.queues[message.RoutingKey] = append(m.queues[message.RoutingKey], message)
	close(m.arrived)
	m.arrived = make(chan struct{})
	return nil
}

// Queue implements [celery.QueueGauge].
func (m *Memory) Queue(_ context.Context, name string) (celery.QueueState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.absent[name] {
		return celery.QueueState{}, fmt.Errorf("%w: '%s'", celery.ErrUnroutable, name)
	}
	return celery.QueueState{Ready: len(m.queues[name]), Consumers: -1}, nil
}

// Take implements [System].
func (m *Memory) Take(ctx context.Context, queue string) (*celery.Message, error) {
	for {
		message, arrived := m.pop(queue)
		if message != nil {
			return message, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (m *Memory) pop(queue string) (*celery.Message, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.queues[queue]
	if len(waiting) == 0 {
		return nil, m.arrived
	}
	m.queues[queue] = waiting[1:]
	return waiting[0], nil
}

// Report implements [System].
func (m *Memory) Report(_ context.Context, task *celery.Message, payload []byte) error {
	m.mu.Lock()
	m.stored[task.CorrelationID] = payload
	m.mu.Unlock()
	m.watchers.report(task.CorrelationID, payload)
	return nil
}

// Watch implements [celery.Backend].
func (m *Memory) Watch(ctx context.Context, id string, w celery.Watcher) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	down := m.down
	m.mu.Unlock()
	if down != nil {
		return down
	}
	return m.watchers.add(id, w)
}

// Unwatch implements [celery.Backend].
func (m *Memory) Unwatch(id string, w celery.Watcher) { m.watchers.remove(id, w) }

// Watching returns the number of watchers.
func (m *Memory) Watching() int { return m.watchers.len() }

// Fetch implements [celery.Store].
func (m *Memory) Fetch(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stored[id], nil
}

// Abort implements [celery.Aborter].
func (m *Memory) Abort(_ context.Context, id string) error {
	m.mu.Lock()
	aborted, err := celery.EncodeAborted(id, m.stored[id])
	if aborted != nil {
		m.stored[id] = aborted
	}
	m.mu.Unlock()
	if aborted != nil {
		m.watchers.report(id, aborted)
	}
	return err
}

// Lose ends the watch of all watchers with an error.
func (m *Memory) Lose(err error) { m.watchers.fail(err) }

// Close ends all watches.
func (m *Memory) Close() error {
	m.watchers.close(celery.ErrClosed)
	return nil
}

// Interrupt implements [System]. There is no connection to interrupt.
func (m *Memory) Interrupt() {}

// Broadcast implements [celery.Controller].
func (m *Memory) Broadcast(_ context.Context, c celery.Command) (int, error) {
	m.mu.Lock()
	workers := slices.Collect(maps.Keys(m.workers))
	m.mu.Unlock()
	for _, w := range workers {
		w.commands <- c
	}
	return len(workers), nil
}

// Ask implements [celery.Controller].
func (m *Memory) Ask(ctx context.Context, c celery.Command, reply func([]byte) bool) error {
	c.Ticket = celery.NewID()
	c.ReplyTo = &celery.ReplyAddress{RoutingKey: c.Ticket}
	workers, err := m.Broadcast(ctx, c)
	if err != nil {
		return err
	}
	for ; workers > 0; workers-- {
		message, err := m.Take(ctx, c.Ticket)
		if err != nil || !reply(message.Body) {
			return nil //nolint:nilerr // replies end with the context
		}
	}
	return nil
}

// Commands implements [System].
func (m *Memory) Commands(ctx context.Context, name string, reply func(celery.Command) []byte) error {
	w := &inbox{commands: make(chan celery.Command, 64)}
	m.mu.Lock()
	m.workers[w] = struct{}{}
	m.mu.Unlock()
	defer m.removeWorker(w)
	for {
		select {
		case c := <-w.commands:
			if len(c.Destination) > 0 && !slices.Contains(c.Destination, name) {
				continue
			}
			if body := reply(c); c.ReplyTo != nil && body != nil {
				_ = m.Publish(ctx, &celery.Message{RoutingKey: c.ReplyTo.RoutingKey, Body: body})
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Memory) removeWorker(w *inbox) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.workers, w)
}

// Follow implements [celery.Follower].
func (m *Memory) Follow(ctx context.Context, receive func([]byte)) error {
	m.mu.Lock()
	key := m.follows
	m.follows++
	m.follower[key] = receive
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.follower, key)
	return nil
}

// Event implements [System].
func (m *Memory) Event(_ context.Context, routingKey string, body []byte) error {
	if !strings.HasPrefix(routingKey, "worker.") {
		return nil
	}
	m.mu.Lock()
	receivers := slices.Collect(maps.Values(m.follower))
	m.mu.Unlock()
	for _, receive := range receivers {
		receive(body)
	}
	return nil
}

var (
	_ System            = (*Memory)(nil)
	_ celery.Controller = (*Memory)(nil)
	_ celery.Follower   = (*Memory)(nil)
	_ celery.QueueGauge = (*Memory)(nil)
	_ celery.Store      = (*Memory)(nil)
	_ celery.Aborter    = (*Memory)(nil)
)
