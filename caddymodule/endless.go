package caddymodule

import (
	"context"
	"fmt"
	"net/http"
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

// runSet is a set of runs.
type runSet struct {
	mu    sync.Mutex
	runs  map[*run]struct{}
	ended bool
}

// add takes a run in, or ends it if all were ended.
func (s *runSet) add(r *run) {
	s.mu.Lock()
	if s.runs == nil {
		s.runs = make(map[*run]struct{})
	}
	s.runs[r] = struct{}{}
	ended := s.ended
	s.mu.Unlock()
	if ended {
		r.abandonFor(errExiting)
	}
}

func (s *runSet) remove(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, r)
}

// end cancels all runs of the set, and all that come later.
func (s *runSet) end() {
	s.mu.Lock()
	s.ended = true
	runs := make([]*run, 0, len(s.runs))
	for r := range s.runs {
		runs = append(runs, r)
	}
	s.mu.Unlock()
	for _, r := range runs {
		r.abandonFor(errExiting)
	}
}

// isEndless reports whether a response is a stream of events.
func isEndless(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
