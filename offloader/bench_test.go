package offloader

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

// Admission without contention. Repeat with
//
//	go test -run '^$' -bench Admission -count 6 ./offloader
func BenchmarkAdmission(b *testing.B) {
	b.Run("gate", func(b *testing.B) {
		g := &gate{concurrency: 8, limit: 8, queueLimit: 100}
		b.ReportAllocs()
		for b.Loop() {
			s, _, _ := g.enter(&newcomer{})
			out, _ := g.release(s, time.Millisecond, Success, 0)
			out.wake()
		}
	})
	b.Run("semaphore", func(b *testing.B) { // golang.org/x/sync, for comparison
		s := semaphore.NewWeighted(8)
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			_ = s.Acquire(ctx, 1)
			s.Release(1)
		}
	})
	b.Run("pool", func(b *testing.B) { benchmarkPool(b, nil) })
	b.Run("pool+breaker", func(b *testing.B) {
		s := DefaultBreakerSettings()
		benchmarkPool(b, &s)
	})
}

func benchmarkPool(b *testing.B, breaker *BreakerSettings) {
	p := benchPool(b, func(s *Settings) { s.Breaker = breaker })
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		permit, err := p.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		permit.Release(Success)
	}
}

// A rejection allocates nothing and costs about as much as a check.
func BenchmarkRefusal(b *testing.B) {
	b.Run("queue_full", func(b *testing.B) {
		p := benchPool(b, func(s *Settings) { s.Concurrency, s.Queue = 1, 0 })
		permit, err := p.TryAcquire()
		if err != nil {
			b.Fatal(err)
		}
		defer permit.Release(Success)
		benchmarkRefusal(b, p)
	})
	b.Run("breaker_open", func(b *testing.B) {
		p := benchPool(b, func(s *Settings) {
			s.Breaker = &BreakerSettings{ConsecutiveFailures: 1, CoolDown: time.Hour, Probes: 1}
		})
		permit, err := p.TryAcquire()
		if err != nil {
			b.Fatal(err)
		}
		permit.Release(Failure)
		benchmarkRefusal(b, p)
	})
}

func benchmarkRefusal(b *testing.B, p *Pool) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Acquire(ctx); err == nil {
			b.Fatal("not refused")
		}
	}
}

func benchPool(b *testing.B, change func(*Settings)) *Pool {
	s := DefaultSettings()
	s.Breaker = nil
	change(&s)
	p, err := New("bench", s)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}
