package offloader_test

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func (s *stage) wantProbesIn(want time.Duration) {
	s.t.Helper()
	if got := s.pool.Snapshot().ProbesIn; got != want {
		s.t.Errorf("%s in: it probes in %s, want %s", time.Since(s.began), got, want)
	}
}

func TestSnapshotSaysWhenTheBreakerProbes(t *testing.T) {
	t.Parallel()
	play(t, "the rest of the cool-down", fragile, func(s *stage) {
		s.wantProbesIn(0)
		s.outcomes("f")
		s.wantProbesIn(10 * second)
		s.pass(7 * second)
		s.wantProbesIn(3 * second)
		s.pass(3*second + 1)
		s.wantBreaker(offloader.StateHalfOpen)
		s.wantProbesIn(0)
	})
	play(t, "a forced breaker does not", fragile, func(s *stage) {
		s.force(offloader.BreakerForcedOpen)
		s.pass(second)
		s.wantProbesIn(0)
	})
	play(t, "a pool without a breaker does not", nil, func(s *stage) { s.wantProbesIn(0) })
}
