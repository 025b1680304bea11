package offloader

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A closed pool leaves no timer behind: of the queue, of the cool-down, and of
// permits that linger.
func TestClosedPoolsLeaveNoTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := New("reports", Settings{
			Concurrency: 3, Queue: 1, MaxWait: time.Hour, Linger: time.Hour,
			Breaker: &BreakerSettings{ConsecutiveFailures: 1, CoolDown: time.Hour, Probes: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		var permits [3]Permit
		for i := range permits {
			if permits[i], err = p.TryAcquire(); err != nil {
				t.Fatal(err)
			}
		}
		waiting := make(chan error)
		go func() {
			_, err := p.Acquire(context.Background())
			waiting <- err
		}()
		synctest.Wait()
		permits[0].Release(Failure)
		permits[1].ReleaseCancelled(Excluded)
		if err := <-waiting; err == nil {
			t.Error("the waiter was admitted by an open breaker")
		}
		lingering := p.lingers.kept[permits[1].slot].timer
		permits[2].Release(Success)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, timer := range map[string]*time.Timer{
			"the queue's": p.alarm.timer, "the cool-down's": p.breaker.Load().coolOff, "a lingering permit's": lingering,
		} {
			if timer.Stop() {
				t.Errorf("%s timer goes on", name)
			}
		}
		p.alarm.set(1, 0)
		if p.alarm.timer.Stop() {
			t.Error("the queue's timer can be set after the end")
		}
	})
}

// A timer that fires while its permit is returned early does not end a later lingering of
// the same record. A permit that begins to linger as the setting changes follows the new
// setting.
func TestLateTimersOfLingeringPermits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		l := lingers{end: func(*slot) { ended.Add(1) }}
		l.limit(time.Second)
		s := new(slot)
		l.add(s, time.Hour)
		late := l.kept[s]
		<-time.After(time.Second - 1)
		if ended.Load() != 0 {
			t.Error("ended early")
		}
		<-time.After(1)
		synctest.Wait()
		if ended.Load() != 1 {
			t.Errorf("ended %d times", ended.Load())
		}
		l.add(s, time.Second)
		l.over(late)
		if ended.Load() != 1 {
			t.Error("a late timer ended another lingering")
		}
		l.close()
		if ended.Load() != 2 || l.add(s, time.Second) {
			t.Errorf("ended %d times", ended.Load())
		}
	})
}

// Closing a pool that warms up stops the timer of its ramp.
func TestClosedPoolsDoNotWarmUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := DefaultSettings()
		p, err := New("reports", s)
		if err != nil {
			t.Fatal(err)
		}
		p.ForceBreaker(BreakerForcedOpen)
		p.ForceBreaker(BreakerAuto)
		if got := p.Snapshot().WarmingUp; got != 1 {
			t.Fatalf("warming up: %d", got)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.warming.timer.Stop() {
			t.Error("the ramp's timer goes on")
		}
	})
}

// One timer serves the whole queue: it is not touched while the queue moves
// and rings early at times.
func TestAlarmOfQueue(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, test func(a *alarm, rang func() []time.Duration)) {
		t.Helper()
		synctest.Test(t, func(*testing.T) {
			began := time.Now()
			var times []time.Duration
			a := &alarm{ring: func() { times = append(times, time.Since(began)) }}
			test(a, func() []time.Duration {
				<-time.After(time.Hour)
				synctest.Wait()
				a.close()
				return times
			})
		})
	}
	want := func(t *testing.T, got []time.Duration, want ...time.Duration) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("rang at %v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("rang at %v, want %v", got, want)
			}
		}
	}
	t.Run("a later time does not move it", func(t *testing.T) {
		t.Parallel()
		setup(t, func(a *alarm, rang func() []time.Duration) {
			a.set(100, 0)
			timer := a.timer
			a.set(200, 0)
			want(t, rang(), 100)
			if a.timer != timer {
				t.Error("another timer")
			}
		})
	})
	t.Run("an earlier time does, with the same timer", func(t *testing.T) {
		t.Parallel()
		setup(t, func(a *alarm, rang func() []time.Duration) {
			a.set(100, 0)
			timer := a.timer
			a.set(50, 10)
			want(t, rang(), 40)
			if a.timer != timer {
				t.Error("another timer")
			}
		})
	})
	t.Run("never is no time", func(t *testing.T) {
		t.Parallel()
		setup(t, func(a *alarm, rang func() []time.Duration) {
			a.set(0, 0)
			want(t, rang())
		})
	})
	t.Run("a time that has passed rings at once", func(t *testing.T) {
		t.Parallel()
		setup(t, func(a *alarm, rang func() []time.Duration) {
			a.set(10, 20)
			want(t, rang(), 0)
		})
	})
	t.Run("it can be set again once it has rung", func(t *testing.T) {
		t.Parallel()
		setup(t, func(a *alarm, rang func() []time.Duration) {
			a.set(10, 0)
			<-time.After(20)
			synctest.Wait()
			a.set(30, 20)
			want(t, rang(), 10, 30)
		})
	})
	t.Run("a closed one is silent", func(t *testing.T) {
		t.Parallel()
		setup(t, func(a *alarm, rang func() []time.Duration) {
			a.set(10, 0)
			a.close()
			a.set(5, 0)
			want(t, rang())
		})
	})
}
