package offloader

import (
	"testing"
	"testing/synctest"
)

// A caller that joins the queue after the clock was read for a snapshot has not waited less
// than nothing.
func TestWaitsAreNotNegative(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := New("one", Settings{Concurrency: 1, Queue: 1})
		if err != nil {
			t.Fatal(err)
		}
		permit, err := p.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		before := p.now() - 1
		go func() {
			if waited, err := p.Acquire(t.Context()); err == nil {
				waited.Release(Success)
			}
		}()
		synctest.Wait()
		var s Snapshot
		p.gate.snapshot(&s, before)
		if waiters := p.gate.waiters(before); s.OldestWait != 0 || waiters[0].Waited != 0 {
			t.Errorf("the oldest wait is %s, that of the first %s", s.OldestWait, waiters[0].Waited)
		}
		permit.Release(Success)
		synctest.Wait()
	})
}
