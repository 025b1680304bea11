package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Store is the store of jobs in one folder, with the service that runs them.
type Store struct {
	Folder string

	service *jobs.Service
	err     error // why it cannot be used, nil if it can
	closing sync.Once
	end     error    // of closing; written once, before closing has returned
	owners  sync.Map // the owner.Rule of each route, by its name
}

// stores are those of the process, by folder.
var stores Table[*Store]

// current is the store of the configuration that was the last one to start.
var current atomic.Pointer[Store]

// Current returns the store of the configuration that was the last one to start, nil if that
// one has no jobs.
func Current() *Store { return current.Load() }

// Service returns the service, or an error that wraps [jobs.ErrBroken].
func (s *Store) Service() (*jobs.Service, error) {
	if s == nil {
		return nil, jobs.ErrStopping
	}
	return s.service, s.err
}

// Owner returns the rule for the owners of the jobs of a route. It is the default for routes
// that no configuration has.
func (s *Store) Owner(route string) owner.Rule {
	rule, _ := s.owners.Load(route)
	known, _ := rule.(owner.Rule)
	return known
}

// SetOwner sets the rule for the owners of the jobs of a route.
func (s *Store) SetOwner(route string, rule owner.Rule) { s.owners.Store(route, rule) }

// Close ends the service: it waits for attempts until ctx ends. A second call waits for the
// first one.
func (s *Store) Close(ctx context.Context) error {
	s.closing.Do(func() {
		current.CompareAndSwap(s, nil)
		if s.err == nil {
			s.end = s.service.Close(ctx)
		}
	})
	return s.end
}

// Opening opens a store.
type Opening struct {
	Folder string
	Engine func(ctx context.Context) (jobs.Engine, error)
	// Options of the service until the configuration has started.
	Options jobs.Options
	// Close is called on a separate goroutine when no configuration uses the store.
	Close func(*Store)
}

// Take returns a lease on a store, which the first user opens. A store that is damaged is no
// error: then its service cannot be used, and the site works without jobs.
func Take(ctx context.Context, o Opening) (*Lease[*Store], error) {
	return stores.Take(ctx, o.Folder, How[*Store]{
		Open:  func() (*Store, error) { return open(ctx, o) },
		Close: o.Close,
	})
}

// Rule makes a store the current one; nil is none.
func Rule(s *Store) { current.Store(s) }

// All returns the open stores.
func All() []*Store { return stores.All() }

// Wait waits until the stores that are being closed are closed, or ctx ends.
func Wait(ctx context.Context) { stores.Wait(ctx) }

func open(ctx context.Context, o Opening) (*Store, error) {
	s := &Store{Folder: o.Folder}
	engine, err := o.Engine(ctx)
	if err == nil {
		s.service, err = jobs.Open(ctx, engine, o.Options)
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, jobs.ErrBroken):
		s.err = fmt.Errorf("opening the store of jobs in %s: %w", o.Folder, err)
		return s, nil
	}
	return nil, fmt.Errorf("opening the store of jobs in %s: %w", o.Folder, err)
}
