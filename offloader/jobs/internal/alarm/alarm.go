// Package alarm calls functions at times of the wall clock. All alarms share one goroutine.
package alarm

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// longest is how long a clock sleeps at most. A step of the wall clock moves the alarms by the
// step; one that is due after a step forward rings so much later at most.
const longest = 15 * time.Second

// Clock has alarms.
type Clock struct {
	now    func() time.Time // without the reading of the monotonic clock
	mu     sync.Mutex
	alarms alarms
	wake   chan struct{}
}

// Alarm is an alarm of one clock at most.
type Alarm struct {
	ring  func()
	at    time.Time
	index int
}

// NewClock returns a clock without alarms. It rings while Run runs. Now returns the time of the
// wall clock, without the reading of the monotonic one.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now, wake: make(chan struct{}, 1)} }

// New returns an alarm that is not set. Ring is called on the goroutine of the clock, without
// a lock.
func New(ring func()) *Alarm { return &Alarm{ring: ring, index: -1} }

// Set sets an alarm, which may be set already. The zero time stops it; a call that has begun
// goes on.
func (c *Clock) Set(a *Alarm, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.at = at
	switch {
	case at.IsZero() && a.index >= 0:
		heap.Remove(&c.alarms, a.index)
		return
	case at.IsZero():
		return
	case a.index >= 0:
		heap.Fix(&c.alarms, a.index)
	default:
		heap.Push(&c.alarms, a)
	}
	if a.index == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Run rings the alarms until ctx ends.
func (c *Clock) Run(ctx context.Context) {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for ctx.Err() == nil {
		a, next := c.due()
		if a != nil {
			a.ring()
			continue
		}
		if next < 0 {
			timer.Stop()
		} else {
			timer.Reset(next)
		}
		select {
		case <-timer.C:
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// due takes the next alarm if its time has come, and returns how long to sleep otherwise,
// negative for no alarm.
func (c *Clock) due() (*Alarm, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.alarms) == 0 {
		return nil, -1
	}
	if wait := c.alarms[0].at.Sub(c.now()); wait > 0 {
		return nil, min(wait, longest)
	}
	return heap.Pop(&c.alarms).(*Alarm), 0
}

type alarms []*Alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *alarms) Push(a any) {
	added := a.(*Alarm)
	added.index = len(*h)
	*h = append(*h, added)
}

func (h *alarms) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	a.index = -1
	return a
}
