package jobs

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Caddy starts apps in any order: a request that comes before the store is open waits for it,
// and gets no 503.
func TestRequestsWaitForTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		opens bool
		want  error
	}{"it opens": {true, nil}, "another app fails to start": {false, jobs.ErrStopping}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &App{ready: make(chan struct{})}
				got := make(chan error, 1)
				go func() {
					_, err := a.service()
					got <- err
				}()
				synctest.Wait()
				if len(got) > 0 {
					t.Error("the request did not wait")
				}
				if c.opens {
					a.opened = new(store.Store)
					close(a.ready)
				}
				if err := <-got; !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			})
		})
	}
}
