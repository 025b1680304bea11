package state

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// open returns a pool of a process, which is removed with the test.
func open(t *testing.T, p *Process) *pools.Pool {
	t.Helper()
	pool, err := p.Pools.Open("one", offloader.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Pools.Named.Delete("one"); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// The end of one process stops admission to its pools alone.
func TestProcessesShareNoPool(t *testing.T) {
	ends, goesOn := NewProcess(), NewProcess()
	one, other := open(t, ends), open(t, goesOn)
	if one == other {
		t.Fatal("one pool for two processes")
	}
	ends.Exit.Begin(ends.Pools)
	if phase := one.Snapshot().Phase; phase != offloader.PhaseDraining {
		t.Errorf("the pool of the process that ends is %s", phase)
	}
	if !ends.Exit.Began.Load() || ends.Exit.Context.Err() == nil {
		t.Error("the exit has not begun")
	}
	permit, err := other.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	permit.Release(offloader.Success)
	if goesOn.Exit.Began.Load() || goesOn.Exit.Context.Err() != nil {
		t.Error("the exit of the other process has begun")
	}
}

// Limits and explanations follow the configurations of their process alone.
func TestProcessesShareNoLimits(t *testing.T) {
	one, other := NewProcess(), NewProcess()
	usual := other.Budget.Limits()
	limits := usual
	limits.Uploads++
	first := one.BudgetLeases.Start(limits)
	if got := one.Budget.Limits(); got != limits {
		t.Errorf("the limits are %+v", got)
	}
	if got := other.Budget.Limits(); got != usual {
		t.Errorf("the limits of the other are %+v", got)
	}
	first.End()

	one.ExplainLeases.Start(1)
	for _, p := range []*Process{one, other} {
		for range 2 {
			p.Explained.Add(&requests.Explanation{ID: requests.NewID()}, new(requests.Identity))
		}
	}
	if got, others := len(one.Explained.Last(10)), len(other.Explained.Last(10)); got != 1 || others != 2 {
		t.Errorf("%d and %d requests are explained", got, others)
	}
}
