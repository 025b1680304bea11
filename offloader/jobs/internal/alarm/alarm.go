// Package alarm calls functions at times of the wall clock. All alarms share one goroutine.
package alarm

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

const (
	// longest is how long a clock sleeps at most, so that it notices steps of the wall clock.
	longest = 15 * time.Second
	// slack is how much the wall clock may differ from the monotonic one without a step.
	slack = time.Second
)

// Clock has alarms. After a step of the wall clock forward those that are due ring within 15
// seconds. A step back delays no alarm: those that were set before ring as long after they were
// set as without the step, and so before their time.
type Clock struct {
	now    func() time.Time // without the reading of the monotonic clock
	mu     sync.Mutex
	alarms alarms
	wake   chan struct{}
	opened time.Time
	ahead  time.Duration // of the wall clock, since the clock was opened
}

// Alarm is an alarm of one clock at most.
type Alarm struct {
	ring  func()
	at    time.Time
	index int
}

// NewClock returns a clock without alarms. It rings while Run runs. Now returns the time of the
// wall clock, without the reading of the monotonic one.
func NewClock(now func() time.Time) *Clock {
	return &Clock{now: now, wake: make(chan struct{}, 1), opened: time.Now()}
}

// New returns an alarm that is not set. Ring is called on the goroutine of the clock, without
// a lock.
func New(ring func()) *Alarm { return &Alarm{ring: ring, index: -1} }

// Set sets an alarm, which may be set already. The zero time stops it; a call that has begun
// goes on.
func (c *Clock) Set(a *Alarm, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time()
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
	if wait := c.alarms[0].at.Sub(c.time()); wait > 0 {
		return nil, min(wait, longest)
	}
	return heap.Pop(&c.alarms).(*Alarm), 0
}

// time returns the time of the wall clock. After a step back it moves all alarms by the step:
// their order stays. The caller holds the lock.
func (c *Clock) time() time.Time {
	now := c.now()
	ahead := now.Sub(c.opened.Round(0)) - time.Since(c.opened)
	switch step := ahead - c.ahead; {
	case step < -slack:
		for _, a := range c.alarms {
			a.at = a.at.Add(step)
		}
		c.ahead = ahead
	case step > slack:
		c.ahead = ahead
	}
	return now
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
