package pools

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// The line about a breaker that has opened says when it probes, and whether callers wait
// until then or are rejected.
func TestFieldsOfAnOpening(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hold time.Duration
		open func(*offloader.Pool)
		want map[string]any
	}{
		"rejects":           {0, trip, map[string]any{"cool_down": 100 * time.Millisecond}},
		"holds its callers": {5 * time.Second, trip, map[string]any{"cool_down": 100 * time.Millisecond, "hold": 5 * time.Second}},
		"by an operator":    {5 * time.Second, func(p *offloader.Pool) { p.ForceBreaker(offloader.BreakerForcedOpen) }, map[string]any{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			core, lines := observer.New(zapcore.DebugLevel)
			var pool *offloader.Pool
			pool, err := offloader.New("reports", offloader.Settings{
				Concurrency: 1, Queue: 9,
				Breaker: &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: 100 * time.Millisecond, Probes: 1, Hold: test.hold},
			}, offloader.WithBreakerObserver(func(_, to offloader.BreakerState) {
				if to == offloader.StateOpen {
					s := pool.Snapshot()
					zap.New(core).Info("opened", openingFields(&s)...)
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			test.open(pool)
			if lines.Len() != 1 {
				t.Fatalf("%s: %d lines", name, lines.Len())
			}
			got := lines.All()[0].ContextMap()
			if d, ok := got["cool_down"].(time.Duration); ok && d >= 80*time.Millisecond && d <= 100*time.Millisecond {
				got["cool_down"] = 100 * time.Millisecond // it is shorter by chance where callers are held
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("%s: the fields are %v, want %v", name, got, test.want)
			}
			if err := pool.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// trip lets a run fail.
func trip(p *offloader.Pool) {
	if permit, err := p.TryAcquire(); err == nil {
		permit.Release(offloader.Failure)
	}
}
