//go:build unix

package lab

import "sync"

// Shared is a RabbitMQ for all tests of a package that do not take it away: each
// plays in a virtual host of its own. It starts when it is first asked for, and
// ends with End.
type Shared struct {
	Package

	mu    sync.Mutex
	ready bool        // the server was started, guarded by mu
	free  []*RabbitMQ // virtual hosts that nobody has, guarded by mu
}

// guests is how many virtual hosts there are.
const guests = 100

// RabbitMQ returns a virtual host that nobody else has, with nothing in it.
func (s *Shared) RabbitMQ(t Owner) *RabbitMQ {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		s.free = StartRabbitMQ(&s.Package).virtualHosts(guests)
		s.ready = true
	}
	if len(s.free) == 0 {
		t.Fatalf("all of %d virtual hosts are in use", guests)
	}
	one := s.free[0]
	s.free = s.free[1:]
	return one
}
