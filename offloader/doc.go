// Package offloader protects a backend from more work than it can take.
//
// A [Pool] has permits for the runs that may go on at once, a bounded queue for callers
// that must wait, and a circuit breaker that stops both while the backend fails. A pool
// starts no goroutine: callers acquire a [Permit], run, and release it with the run's
// outcome, or leave that to [Pool.Do]. A [Ticket] is for callers that want to be listed,
// cancelled or recognized, or that have a [Claim]: pools can be fair by key, share permits
// between classes, and let a run take several permits. The package has no HTTP and no
// configuration format.
//
//	pool, err := offloader.New("reports", offloader.DefaultSettings())
//	if err != nil {
//		return err
//	}
//	err = pool.Do(ctx, func(ctx context.Context) error {
//		return render(ctx)
//	})
package offloader
