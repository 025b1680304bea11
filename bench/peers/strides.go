package peers

import (
	"container/heap"
	"context"
	"sync"

	"github.com/caddy-offload/caddy-offload/bench/internal/hall"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// strides is a model of Temporal's task queue with fairness keys of equal weights. A task
// that has to wait gets a pass: one stride after the last one of its key, and no less than
// that of the task that was dispatched last. The lowest pass is dispatched next. As in
// Temporal, tasks are counted and not their time, and places are not bounded. Up to 100 keys
// Temporal's counts are exact; its estimates beyond that are not modelled.
type strides struct {
	mu     sync.Mutex // guards the rest
	free   int
	base   int64 // pass of the task that was dispatched last
	number int64 // of tasks that have waited
	passes map[string]int64
	tasks  backlog
}

// newStrides returns a task queue whose workers run so many tasks at once.
func newStrides(concurrency int) hall.Gate {
	return &strides{free: concurrency, passes: make(map[string]int64)}
}

func (s *strides) Do(ctx context.Context, claim offloader.Claim, run func()) bool {
	t := s.arrive(claim.Key)
	select {
	case <-t.dispatched:
	case <-ctx.Done():
		if s.withdraw(t) {
			return false
		}
	}
	run()
	s.leave()
	return true
}

// arrive dispatches a task that finds an idle worker, and else gives it a pass.
func (s *strides) arrive(key string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	t := &task{number: s.number, dispatched: make(chan struct{})}
	if s.free > 0 {
		s.free--
		t.dispatch()
		return t
	}
	s.passes[key] = max(s.base, s.passes[key]+1)
	t.pass = s.passes[key]
	heap.Push(&s.tasks, t)
	return t
}

// withdraw takes a task out of the backlog. It reports whether it was still there.
func (s *strides) withdraw(t *task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.index == outside {
		return false
	}
	heap.Remove(&s.tasks, t.index)
	return true
}

func (s *strides) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tasks) == 0 {
		s.free++
		return
	}
	t := heap.Pop(&s.tasks).(*task)
	s.base = t.pass
	t.dispatch()
}

// Close has nothing to end.
func (*strides) Close() {}

// outside is the index of a task that is not in the backlog.
const outside = -1

// task is a request of a task queue.
type task struct {
	pass, number int64
	index        int // in the backlog
	dispatched   chan struct{}
}

func (t *task) dispatch() {
	t.index = outside
	close(t.dispatched)
}

// backlog is a heap of tasks by pass, then by arrival.
type backlog []*task

func (b backlog) Len() int { return len(b) }

func (b backlog) Less(i, j int) bool {
	if b[i].pass != b[j].pass {
		return b[i].pass < b[j].pass
	}
	return b[i].number < b[j].number
}

func (b backlog) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].index, b[j].index = i, j
}

func (b *backlog) Push(x any) {
	t := x.(*task)
	t.index = len(*b)
	*b = append(*b, t)
}

func (b *backlog) Pop() any {
	last := len(*b) - 1
	t := (*b)[last]
	t.index = outside
	*b = (*b)[:last]
	return t
}
