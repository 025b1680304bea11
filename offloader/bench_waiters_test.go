package offloader

import (
	"fmt"
	"testing"
	"time"
)

// The cost of a queue of any length: an arrival with a permit that comes free, and an
// arrival with a waiter that leaves, the oldest one or any. In a long queue any waiter is
// far from the processor's caches, with its neighbours and its ticket: that is what
// leave-any shows. Repeat with
//
//	go test -run '^$' -bench ManyWaiters -count 6 ./offloader
func BenchmarkManyWaiters(b *testing.B) {
	for name, order := range map[string]Order{"fifo": OrderFIFO, "auto": OrderAuto} {
		for _, waiting := range []int{10, 100_000} {
			for what, step := range map[string]func(*crowd){"grant": (*crowd).serve, "leave": (*crowd).leave, "leave-any": (*crowd).leaveAny} {
				b.Run(fmt.Sprintf("%s/%s/%d", what, name, waiting), func(b *testing.B) {
					c := newCrowd(waiting, order)
					b.ReportAllocs()
					for b.Loop() {
						step(c)
					}
				})
			}
		}
	}
}

const (
	crowdPermits = 8
	crowdMaxWait = 10 * time.Second
)

// crowd is a queue that has more waiters than can be served in order, and would be
// served within three quarters of the longest wait.
type crowd struct {
	gate    gate
	waiting int
	step    moment // from one permit that comes free to the next one
	now     moment
	running []*slot   // a ring
	absent  []*waiter // not in the queue
	queued  []*waiter // in the queue when the benchmark began, in order
	next    int
}

func newCrowd(waiting int, order Order) *crowd {
	c := &crowd{waiting: waiting, now: 1, step: moment(crowdMaxWait) * 3 / 4 / moment(waiting)}
	c.gate.limit = unlimited
	c.gate.configure(Settings{Concurrency: crowdPermits, Queue: 2 * waiting, MaxWait: crowdMaxWait, Order: order}, c.now)
	for range 2 * waiting {
		c.absent = append(c.absent, &waiter{ticket: new(Ticket)})
	}
	c.begin()
	return c
}

// begin lets callers run and wait until the queue predicts.
func (c *crowd) begin() {
	for range crowdPermits {
		s, _, _ := c.gate.enter(&newcomer{came: c.now})
		s.started = c.now
		c.running = append(c.running, s)
	}
	c.fill()
	for range 2*roundsKept*crowdPermits + c.waiting {
		c.serve()
	}
	for e := c.gate.queue.line.Front(); e != nil; e = e.Next() {
		c.queued = append(c.queued, e.Value)
	}
}

// fill lets callers come until the queue has its length.
func (c *crowd) fill() {
	for c.gate.queue.len < c.waiting {
		w := c.absent[len(c.absent)-1]
		c.absent = c.absent[:len(c.absent)-1]
		c.arrive(w)
	}
}

func (c *crowd) arrive(w *waiter) {
	w.arrived, w.slot, w.reason, w.kept = c.now, nil, 0, false
	c.gate.wait(w, &newcomer{ticket: w.ticket}, c.now)
}

// serve ends the oldest run, whose permit goes to a waiter.
func (c *crowd) serve() {
	c.now += c.step
	s := c.running[c.next%crowdPermits]
	o, _, _ := s.release(s.generation(), Success)
	out, _ := c.gate.release(s, time.Duration(c.now-s.started), o, c.now)
	for w := out.first; w != nil; {
		if w.slot != nil {
			c.running[c.next%crowdPermits] = w.slot
		}
		c.absent = append(c.absent, w)
		w, w.next = w.next, nil
	}
	c.next++
	c.fill()
}

// leave takes the oldest waiter out of the queue.
func (c *crowd) leave() { c.replace(c.gate.queue.line.front()) }

// leaveAny takes any waiter out of the queue.
func (c *crowd) leaveAny() {
	c.next = (c.next + 7919) % len(c.queued)
	c.replace(c.queued[c.next])
}

func (c *crowd) replace(w *waiter) {
	var out verdicts
	c.gate.leave(w, &newcomer{ticket: w.ticket}, c.now, &out)
	c.arrive(w)
}
