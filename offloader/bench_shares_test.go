package offloader

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// The cost of a fair queue of any length with many keys and three classes: as
// BenchmarkManyWaiters, and an arrival that displaces a waiter of the full queue. Repeat with
//
//	go test -run '^$' -bench ManyKeys -count 6 ./offloader
func BenchmarkManyKeys(b *testing.B) {
	for _, size := range []struct{ waiting, keys int }{{100, 10}, {100_000, 10_000}, {100_000, 100_000}} {
		for what, step := range map[string]func(*crowd){"grant": (*crowd).serve, "leave": (*crowd).leave, "leave-any": (*crowd).leaveAny, "displace": (*crowd).displace} {
			b.Run(fmt.Sprintf("%s/%d/%d", what, size.waiting, size.keys), func(b *testing.B) {
				c := newFairCrowd(size.waiting, size.keys)
				b.ReportAllocs()
				for b.Loop() {
					step(c)
				}
			})
		}
	}
}

// Admission without contention to a pool that is fair by key. Repeat with
//
//	go test -run '^$' -bench FairAdmission -count 6 ./offloader
func BenchmarkFairAdmission(b *testing.B) {
	p := benchPool(b, func(s *Settings) { s.Fair = true })
	claims := make([]Claim, 100)
	for i := range claims {
		claims[i].Key = fmt.Sprint(i)
	}
	ctx := context.Background()
	b.ReportAllocs()
	ticket := Ticket{Pool: p}
	for i := 0; b.Loop(); i++ {
		ticket.Claim = &claims[i%len(claims)]
		permit, err := ticket.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		permit.Release(Success)
	}
}

func newFairCrowd(waiting, keys int) *crowd {
	classes := []Class{{"interactive", 8}, {"normal", 4}, {"batch", 1}}
	c := &crowd{waiting: waiting, now: 1, step: moment(crowdMaxWait) * 3 / 4 / moment(waiting)}
	c.gate.limit = unlimited
	c.gate.configure(Settings{Concurrency: crowdPermits, Queue: waiting, MaxWait: 100 * crowdMaxWait, PerKey: 2, Classes: classes}, c.now)
	for i := range 2 * waiting {
		claim := &Claim{Key: fmt.Sprint(i % keys), Class: classes[i%3].Name}
		c.absent = append(c.absent, &waiter{ticket: &Ticket{Claim: claim}})
	}
	c.begin()
	return c
}

// displace lets a caller come to the full queue.
func (c *crowd) displace() {
	w := c.absent[0]
	c.now += moment(time.Microsecond)
	w.arrived, w.slot, w.reason, w.kept = c.now, nil, 0, false
	n := &newcomer{ticket: w.ticket, came: c.now}
	a, _, out := c.gate.wait(w, n, c.now)
	c.absent = c.absent[1:]
	if a == rejectNow {
		c.absent = append(c.absent, w)
	}
	for w := out.first; w != nil; w = w.next {
		c.absent = append(c.absent, w)
	}
}
