package pools

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// A removed pool is one of the table's until its last request has ended, and drains at the
// end of the process as others do.
func TestExitDrainsRemovedPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, x := NewTable(offloader.NewUpstreams()), NewExit()
		removed, named := opened(t, table, "removed"), opened(t, table, "named")
		permit, err := removed.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		closed(t, table, "removed")
		if all := table.All(); len(all) != 2 || !slices.Contains(all, removed) {
			t.Errorf("the table has %d pools", len(all))
		}
		if living := table.Living(); len(living) != 1 || living[0] != named {
			t.Errorf("%d pools have a configuration", len(living))
		}
		x.Begin(table)
		for _, pool := range []*Pool{removed, named} {
			if phase := pool.Snapshot().Phase; phase != offloader.PhaseDraining {
				t.Errorf("pool '%s' is %s", pool.Name(), phase)
			}
		}
		if f := finaleOf(x.was[removed], removed.Snapshot()); f != (finale{Cut: 1}) {
			t.Errorf("the end would be %+v", f)
		}
		permit.Release(offloader.Success)
		synctest.Wait()
		if f := finaleOf(x.was[removed], removed.Snapshot()); f != (finale{Finished: 1}) {
			t.Errorf("the end is %+v", f)
		}
		if n := len(table.Removed.List()); n != 0 {
			t.Errorf("%d removed pools are left", n)
		}
		closed(t, table, "named")
	})
}

func opened(t *testing.T, in *Table, name string) *Pool {
	t.Helper()
	pool, err := in.Open(name, offloader.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func closed(t *testing.T, in *Table, name string) {
	t.Helper()
	if _, err := in.Named.Delete(name); err != nil {
		t.Fatal(err)
	}
}

// Each pool that is opened with settings that are not valid is an error, and leaves nothing.
func TestOpenOfInvalidSettings(t *testing.T) {
	table := NewTable(offloader.NewUpstreams())
	settings := offloader.DefaultSettings()
	settings.Concurrency = -5
	if pool, err := table.Open("one", settings); err == nil || pool != nil {
		t.Errorf("got %v, %v", pool, err)
	}
	if n := len(table.All()); n != 0 {
		t.Errorf("%d pools are left", n)
	}
}
