package alarm_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/alarm"
)

// bubble runs a test with a clock that runs, whose wall clock has steps.
func bubble(t *testing.T, f func(t *testing.T, c *alarm.Clock, step func(time.Duration))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		c := alarm.NewClock(func() time.Time { return time.Now().Round(0).Add(time.Duration(offset.Load())) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Run(ctx)
		}()
		synctest.Wait()
		f(t, c, func(d time.Duration) { offset.Add(int64(d)) })
		cancel()
		<-ended
	})
}

func TestAlarmsRingAtTheirTimes(t *testing.T) {
	bubble(t, func(t *testing.T, c *alarm.Clock, _ func(time.Duration)) {
		began := time.Now()
		const alarms = 200
		rings := make(chan time.Duration, alarms)
		stopped := alarm.New(func() { t.Error("a stopped alarm has rung") })
		c.Set(stopped, began.Add(time.Second))
		want := map[time.Duration]int{}
		for range alarms {
			at := time.Duration(rand.IntN(100)) * time.Second
			want[at]++
			a := alarm.New(func() { rings <- time.Since(began) })
			c.Set(a, began.Add(time.Hour)) // it is set twice
			c.Set(a, began.Add(at))
		}
		c.Set(stopped, time.Time{})
		c.Set(stopped, time.Time{})
		last := time.Duration(0)
		for range alarms {
			at := <-rings
			if want[at]--; want[at] < 0 || at < last {
				t.Fatalf("an alarm rings after %v", at)
			}
			last = at
		}
	})
}

// An alarm may be set while it rings.
func TestAnAlarmRingsAgain(t *testing.T) {
	bubble(t, func(t *testing.T, c *alarm.Clock, _ func(time.Duration)) {
		began, rings := time.Now(), make(chan time.Duration, 3)
		var a *alarm.Alarm
		a = alarm.New(func() {
			if rings <- time.Since(began); len(rings) < 3 {
				c.Set(a, time.Now().Add(time.Minute))
			}
		})
		c.Set(a, began.Add(time.Minute))
		<-time.After(time.Hour)
		for i := range 3 {
			if got := <-rings; got != time.Duration(i+1)*time.Minute {
				t.Fatal(got)
			}
		}
	})
}

// A step of the wall clock forward moves an alarm by the step, and one back not at all.
func TestAlarmsFollowTheWallClock(t *testing.T) {
	for _, c := range []struct{ step, at, latest time.Duration }{
		{0, time.Hour, time.Hour},
		{10 * time.Minute, 50 * time.Minute, 50*time.Minute + 15*time.Second},
		{2 * time.Hour, time.Minute, time.Minute + 15*time.Second},
		{-10 * time.Minute, time.Hour, time.Hour},
		{-100 * 24 * time.Hour, time.Hour, time.Hour},
		{-500 * time.Millisecond, time.Hour, time.Hour + time.Second},
	} {
		bubble(t, func(t *testing.T, clock *alarm.Clock, step func(time.Duration)) {
			began, rang := time.Now(), make(chan time.Duration, 1)
			clock.Set(alarm.New(func() { rang <- time.Since(began) }), began.Add(time.Hour))
			<-time.After(time.Minute)
			step(c.step)
			if got := <-rang; got < c.at || got > c.latest {
				t.Fatalf("after a step of %v it rings after %v", c.step, got)
			}
		})
	}
}

// Alarms that are set before and after a step back ring in the order of their ends.
func TestAlarmsKeepTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, clock *alarm.Clock, step func(time.Duration)) {
		began, rings := time.Now(), make(chan string, 4)
		set := func(name string, at time.Time) { clock.Set(alarm.New(func() { rings <- name }), at) }
		set("fourth", began.Add(4*time.Hour))
		set("second", began.Add(2*time.Hour))
		step(-24 * time.Hour)
		set("first", began.Add(-23*time.Hour))
		set("third", began.Add(-21*time.Hour))
		for i, want := range []string{"first", "second", "third", "fourth"} {
			if got := <-rings; got != want || time.Since(began) != time.Duration(i+1)*time.Hour {
				t.Fatalf("%s rings after %v, want %s", got, time.Since(began), want)
			}
		}
	})
}
