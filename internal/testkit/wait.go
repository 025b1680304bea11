package testkit

import (
	"context"
	"testing"
	"time"
)

// patience limits waits that become long only if the test fails.
const patience = 10 * time.Second

// Eventually waits until a condition of another goroutine or process holds. It fails the
// test after 10 s.
func Eventually(t testing.TB, holds func() bool) {
	t.Helper()
	if !Poll(patience, holds) {
		t.Fatalf("did not happen within %s", patience)
	}
}

// Poll waits until a condition holds and reports whether it does so within the limit. Tests
// with messages or limits that differ from those of Eventually use it. The pauses between
// two calls of holds grow with the time that has passed, up to 50 ms.
func Poll(limit time.Duration, holds func() bool) bool {
	for began := time.Now(); !holds(); {
		passed := time.Since(began)
		if passed > limit {
			return false
		}
		Pause(min(max(passed/20, time.Millisecond), 50*time.Millisecond))
	}
	return true
}

// Receive returns the next value of a channel, or the zero value if the channel is closed.
// It fails the test after 10 s.
func Receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("nothing was received within %s", patience)
	}
	return v
}

// Pause blocks for d. The duration is an input of the test, such as the run time of a fake
// backend, the pace of a client or the length of a fault. To wait for an event, use Eventually,
// Poll or Receive.
func Pause(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// PauseUntil blocks for d like Pause, or until the context ends.
func PauseUntil(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Quiet blocks for d, in which nothing is expected: there is no signal for silence, and the
// checks after it prove that nothing has happened. It is for tests with real connections or
// processes; others prove silence in a bubble of testing/synctest.
func Quiet(d time.Duration) { Pause(d) }
