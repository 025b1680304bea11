package caddymodule

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// errExiting ends a run whose answer would never end by itself.
var errExiting = fmt.Errorf("the process exits: %w", context.Canceled)

// endlessRuns are the runs whose answer is a stream of events. Such a stream ends
// when its client leaves, and its client comes back by itself when it is cut. When
// the process exits they are cut at once, as reverse_proxy closes upgraded
// connections: else they would take all of the grace period, which may be endless
// too.
var endlessRuns runSet

// abandonedRuns are the runs whose answer is of no use any more and that go on. When
// the process exits they are given up at once.
var abandonedRuns runSet

// runSet is a set of runs.
type runSet struct {
	mu    sync.Mutex
	runs  map[*run]struct{}
	ended bool
}

// add takes a run in. It reports false if all were ended: then so should this one.
func (s *runSet) add(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	if s.runs == nil {
		s.runs = make(map[*run]struct{})
	}
	s.runs[r] = struct{}{}
	return true
}

func (s *runSet) remove(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, r)
}

// end calls f for all runs of the set. Later ones are not taken in.
func (s *runSet) end(f func(*run)) {
	s.mu.Lock()
	s.ended = true
	runs := slices.Collect(maps.Keys(s.runs))
	s.mu.Unlock()
	for _, r := range runs {
		f(r)
	}
}

// isEndless reports whether a response is a stream of events.
func isEndless(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
