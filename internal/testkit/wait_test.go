package testkit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// failing records the failure of a test.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(string, ...any) {
	f.failed = true
	panic(f)
}

// fails reports whether a test fails, and after which time.
func fails(test func(t testing.TB)) (failed bool, after time.Duration) {
	f := new(failing)
	began := time.Now()
	defer func() {
		if value := recover(); value != nil && value != any(f) {
			panic(value)
		}
		failed, after = f.failed, time.Since(began)
	}()
	test(f)
	return failed, after
}

func TestConditionsAreAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		after := func(d time.Duration) func() bool {
			return func() bool { return time.Since(began) >= d }
		}
		if failed, took := fails(func(t testing.TB) { testkit.Eventually(t, after(0)) }); failed || took != 0 {
			t.Errorf("a condition that holds: failed %v, after %s", failed, took)
		}
		if failed, took := fails(func(t testing.TB) { testkit.Eventually(t, after(time.Second)) }); failed || took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("a condition that holds after a second: failed %v, after %s", failed, took)
		}
		if failed, took := fails(func(t testing.TB) { testkit.Eventually(t, func() bool { return false }) }); !failed || took < 10*time.Second {
			t.Errorf("a condition that never holds: failed %v, after %s", failed, took)
		}
		began = time.Now()
		if testkit.Poll(time.Second, after(2*time.Second)) {
			t.Error("a condition held after its limit")
		}
	})
}

func TestValuesAreReceived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int)
		time.AfterFunc(time.Second, func() { c <- 7 })
		failed, took := fails(func(t testing.TB) {
			if got := testkit.Receive(t, c); got != 7 {
				t.Fatalf("received %d", got)
			}
		})
		if failed || took != time.Second {
			t.Errorf("a value: failed %v, after %s", failed, took)
		}
		if failed, took := fails(func(t testing.TB) { testkit.Receive(t, c) }); !failed || took != 10*time.Second {
			t.Errorf("no value: failed %v, after %s", failed, took)
		}
		close(c)
		if failed, took := fails(func(t testing.TB) { testkit.Receive(t, c) }); failed || took != 0 {
			t.Errorf("a closed channel: failed %v, after %s", failed, took)
		}
	})
}

func TestPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		testkit.Pause(time.Second)
		testkit.Quiet(time.Second)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		testkit.PauseUntil(ctx, time.Second)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s before the context ended", took)
		}
		testkit.PauseUntil(ctx, time.Minute)
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("took %s until the context ended", took)
		}
	})
}
