package offloader

import (
	"context"
	"testing"

	"golang.org/x/sync/semaphore"
)

// Admission from 64 goroutines, if GOMAXPROCS is 2, with a permit for each of them: no
// caller waits, and all of them meet at the same counters. Repeat with
//
//	go test -run '^$' -bench Contended -cpu 2 -count 6 ./offloader
func BenchmarkContended(b *testing.B) {
	const permits, goroutines = 64, 32 // for each processor
	ctx := context.Background()
	pool := func(breaker *BreakerSettings) func(b *testing.B) {
		return func(b *testing.B) {
			p := benchPool(b, func(s *Settings) { s.Concurrency, s.Breaker = permits, breaker })
			b.ReportAllocs()
			b.SetParallelism(goroutines)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					permit, err := p.Acquire(ctx)
					if err != nil {
						b.Error(err)
						return
					}
					permit.Release(Success)
				}
			})
		}
	}
	withBreaker := DefaultBreakerSettings()
	b.Run("pool", pool(nil))
	b.Run("pool+breaker", pool(&withBreaker))
	b.Run("semaphore", func(b *testing.B) { // golang.org/x/sync, for comparison
		s := semaphore.NewWeighted(permits)
		b.ReportAllocs()
		b.SetParallelism(goroutines)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := s.Acquire(ctx, 1); err != nil {
					b.Error(err)
					return
				}
				s.Release(1)
			}
		})
	})
}
