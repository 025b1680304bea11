package offloader_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// A pool predicts the wait and the run of a caller that would have to wait, once it knows how
// long runs take.
func TestForecasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := offloader.New("p", offloader.Settings{Concurrency: 1, Queue: 9})
		if err != nil {
			t.Fatal(err)
		}
		unknown := func(when string, ticket *offloader.Ticket) {
			if f, ok := ticket.Forecast(); ok {
				t.Errorf("%s: %v", when, f)
			}
		}
		ticket := &offloader.Ticket{Pool: pool}
		run := func() {
			permit, err := pool.Acquire(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			<-time.After(time.Second)
			permit.Release(offloader.Success)
		}
		unknown("without a run", ticket)
		run()
		held, err := pool.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		unknown("after the first round", ticket)
		held.Untimed()
		held.Release(offloader.Success)
		run()
		unknown("with a free permit", ticket)

		go run()
		synctest.Wait()
		unknown("of a preflight", &offloader.Ticket{Pool: pool, Preflight: true})
		for n := range 3 {
			want := offloader.Forecast{Wait: time.Duration(n+1) * time.Second, Run: time.Second}
			if f, ok := ticket.Forecast(); !ok || f != want {
				t.Errorf("behind %d waiters: got %v, %v, want %v", n, f, ok, want)
			}
			go run()
			synctest.Wait()
		}
		pool.Pause()
		unknown("of a paused pool", ticket)
		pool.Resume()
		if err := pool.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
