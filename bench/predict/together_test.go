package predict

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// reader is how a client reads the advice that it gets with a rejection.
type reader struct {
	name string
	// read returns how long the rejection is held for the client, and how long the client
	// waits after that.
	read func(offloader.Retry) (held, wait time.Duration)
}

var (
	wholeSeconds = reader{"Retry-After", func(r offloader.Retry) (held, wait time.Duration) {
		return 0, time.Duration(r.Seconds) * time.Second
	}}
	milliseconds = reader{"Retry-After-Ms", func(r offloader.Retry) (held, wait time.Duration) {
		return 0, (r.Turn + time.Millisecond - 1).Truncate(time.Millisecond)
	}}
	heldBack = reader{"Retry-After, reject_hold 1s", func(r offloader.Retry) (held, wait time.Duration) {
		return r.Turn % time.Second, r.Turn.Truncate(time.Second)
	}}
)

// company are clients that come in one moment, and come back until they are served.
type company struct {
	clients int
	queue   int
	run     time.Duration
	reader  reader

	// Bounds: at least and at most so many are served within that time, in at most so many
	// requests.
	within      time.Duration
	least, most int
	requests    int
}

// Clients that are rejected together are served one after the other if they know
// milliseconds, or if their rejections are held. If they know whole seconds only they come
// in one moment of each second, which a queue of a second's worth of runs makes good.
func TestTogether(t *testing.T) {
	var text strings.Builder
	text.WriteString("40 obedient clients that come together, one permit, runs of 0.2 s.\n\n")
	fmt.Fprintf(&text, "%-32s %6s %10s %10s %10s %9s\n", "clients know", "queue", "by 14 s", "by 20 s", "last at", "requests")
	for _, c := range []company{
		{reader: wholeSeconds, within: 20 * s, least: 16, most: 24, requests: 130},
		{reader: milliseconds, within: 14 * s, least: 36, most: 40, requests: 130},
		{reader: heldBack, within: 14 * s, least: 36, most: 40, requests: 130},
		{reader: wholeSeconds, queue: 10, within: 14 * s, least: 40, most: 40, requests: 100},
		{reader: milliseconds, queue: 10, within: 14 * s, least: 40, most: 40, requests: 100},
		{reader: heldBack, queue: 10, within: 14 * s, least: 40, most: 40, requests: 100},
	} {
		c.clients, c.run = 40, 200*ms
		o := c.play(t)
		fmt.Fprintf(&text, "%-32s %6d %10d %10d %9.1fs %9d\n", c.reader.name, c.queue, o.servedBy(14*s), o.servedBy(20*s), o.last().Seconds(), o.requests)
		if got := o.servedBy(c.within); got < c.least || got > c.most {
			t.Errorf("%s, queue %d: %d served within %s, want %d to %d", c.reader.name, c.queue, got, c.within, c.least, c.most)
		}
		if o.requests > c.requests {
			t.Errorf("%s, queue %d: %d requests, want %d at most", c.reader.name, c.queue, o.requests, c.requests)
		}
	}
	publish(t, text.String())
}

// turnout holds the results of clients that come together.
type turnout struct {
	mu       sync.Mutex // guards the rest
	requests int
	served   []time.Duration // since they came
}

func (o *turnout) servedBy(at time.Duration) (n int) {
	for _, d := range o.served {
		if d <= at {
			n++
		}
	}
	return n
}

func (o *turnout) last() (last time.Duration) {
	for _, d := range o.served {
		last = max(last, d)
	}
	return last
}

func (c *company) play(t *testing.T) *turnout {
	o := new(turnout)
	synctest.Test(t, func(t *testing.T) {
		pool, err := offloader.New("together", settings(1, c.queue, 10*s))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var all sync.WaitGroup
		for range c.clients {
			all.Go(func() { c.visit(t, pool, began, o) })
		}
		all.Wait()
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// visit is one client, from its first request until it is served.
func (c *company) visit(t *testing.T, pool *offloader.Pool, began time.Time, o *turnout) {
	who := newGuest()
	for try := uint16(1); ; try++ {
		o.mu.Lock()
		o.requests++
		o.mu.Unlock()
		who.known.Connection = try
		ticket := offloader.Ticket{Pool: pool, Caller: who}
		permit, err := ticket.Acquire(context.Background())
		if err == nil {
			<-time.After(c.run)
			permit.Release(offloader.Success)
			o.mu.Lock()
			o.served = append(o.served, time.Since(began))
			o.mu.Unlock()
			return
		}
		rejected, ok := errors.AsType[*offloader.RejectedError](err)
		if !ok {
			t.Error(err)
			return
		}
		held, wait := c.reader.read(ticket.NextRetry(rejected.Reason))
		<-time.After(held)
		<-time.After(wait)
	}
}
