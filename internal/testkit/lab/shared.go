//go:build unix

package lab

import "sync"

// Shared is a RabbitMQ for all tests of a package that do not stop it; each test
// has a separate virtual host. It starts at the first use, and ends with End.
type Shared struct {
	Package

	mu    sync.Mutex
	ready bool        // the server was started, guarded by mu
	free  []*RabbitMQ // free virtual hosts, guarded by mu
}

// guests is the number of virtual hosts.
const guests = 100

// RabbitMQ returns an empty virtual host for one test.
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
