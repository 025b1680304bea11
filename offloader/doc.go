// Package offloader protects a backend from more work than it can take.
//
// Its centre is the [Pool]: permits for the runs that may go on at once, a
// bounded queue for those that must wait, and a circuit breaker that stops
// both while the backend fails. A pool starts no work and no goroutine of its
// own: callers acquire a [Permit], run, and release it with the run's outcome.
// The package knows neither HTTP nor Caddy.
//
//	pool, err := offloader.New("reports", offloader.DefaultSettings())
//	if err != nil {
//		return err
//	}
//	err = pool.Do(ctx, func(ctx context.Context) error {
//		return render(ctx)
//	})
package offloader
