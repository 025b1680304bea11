package predict

import (
	"container/heap"
	"time"
)

// clairvoyant returns how many requests of a mix can be served by an order of service that
// knows when each permit will come free. It serves in order of arrival, which with the same
// longest wait for all is the order of the deadlines, and gives neither a permit nor a
// place to requests that would be late. No order that ignores the length of the runs
// serves more.
func (m *mix) clairvoyant() int {
	var (
		free    permits
		served  int
		starts  []time.Duration // of those that wait, in order
		started = map[kind]int{}
		changes = m.limits
		total   = m.settings.Concurrency
	)
	for range total {
		heap.Push(&free, time.Duration(0))
	}
	resize := func(upTo time.Duration) {
		for len(changes) > 0 && changes[0].at <= upTo {
			c := changes[0]
			changes = changes[1:]
			for ; total < c.concurrency; total++ {
				heap.Push(&free, c.at)
			}
			for ; total > c.concurrency; total-- {
				heap.Pop(&free) // the first one to come free is not passed on
			}
		}
	}
	for _, a := range m.arrivals {
		resize(max(a.at, free[0]))
		for len(starts) > 0 && starts[0] <= a.at {
			starts = starts[1:]
		}
		start := max(a.at, free[0])
		if m.settings.MaxWait > 0 && start-a.at > m.settings.MaxWait {
			continue
		}
		if start > a.at {
			if len(starts) >= m.settings.Queue {
				continue
			}
			starts = append(starts, start)
		}
		heap.Pop(&free)
		heap.Push(&free, start+m.run(a.kind, started[a.kind], start))
		started[a.kind]++
		served++
	}
	return served
}

// permits are the times at which permits come free.
type permits []time.Duration

func (p permits) Len() int           { return len(p) }
func (p permits) Less(i, j int) bool { return p[i] < p[j] }
func (p permits) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *permits) Push(x any)        { *p = append(*p, x.(time.Duration)) }
func (p *permits) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}
