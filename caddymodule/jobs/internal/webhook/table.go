package webhook

import (
	"context"
	"slices"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Table has the senders of the routes of a service. Its zero value is empty.
type Table struct {
	mu     sync.Mutex
	routes map[string][]*Sender // of each route the last one sends; guarded by mu
}

// Bind makes a sender send the messages of a route, until unbind is called. The sender that was
// bound last sends them, so a configuration takes the place of an earlier one before that ends.
func (t *Table) Bind(route string, s *Sender) (unbind func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.routes == nil {
		t.routes = make(map[string][]*Sender)
	}
	t.routes[route] = append(t.routes[route], s)
	return func() { t.unbind(route, s) }
}

func (t *Table) unbind(route string, s *Sender) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := slices.DeleteFunc(t.routes[route], func(other *Sender) bool { return other == s })
	if t.routes[route] = left; len(left) == 0 {
		delete(t.routes, route)
	}
}

// Deliver sends a message with the sender of the job's route. Without one it fails, and a later
// try may find one.
func (t *Table) Deliver(ctx context.Context, m jobs.Message) jobs.Delivery {
	s := t.sender(m.Record.Route)
	if s == nil {
		return jobs.Delivery{Error: "route"}
	}
	return s.Deliver(ctx, m)
}

func (t *Table) sender(route string) *Sender {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.routes[route]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}
