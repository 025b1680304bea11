package jobs

import (
	"sync/atomic"
	"testing"
	"time"
)

// StepClock returns a function that moves the wall clock of services for the rest of a test.
// The monotonic clock goes on.
func StepClock(t *testing.T) (step func(time.Duration)) {
	var offset atomic.Int64
	before := wallTime
	wallTime = func() time.Time { return before().Add(time.Duration(offset.Load())) }
	t.Cleanup(func() { wallTime = before })
	return func(d time.Duration) { offset.Add(int64(d)) }
}
