package celery

import (
	"context"
	"sync"
	"time"
)

// question is asked once at a time, for all who want to know. Whoever is content
// with a part of the answer need not wait for the rest, and what was answered before
// serves while it is asked again. Asking must end by itself.
type question[T any] struct {
	asking *asking
	times  times
	// ask calls told with all that is known so far, each time more is.
	ask func(ctx context.Context, told func(T)) error

	mu    sync.Mutex
	last  answer[T] // the whole one, guarded by mu
	round *round[T] // nil while nobody asks, guarded by mu
}

// times are for how long an answer is good.
type times struct {
	// keep is how long it is not asked again.
	keep time.Duration
	// serve is how long it serves whoever is content with it. Beyond keep it is
	// asked again meanwhile.
	serve time.Duration
	// again is after how long it is asked again for whoever is not.
	again time.Duration
}

// answer is what is known, or why nothing is.
type answer[T any] struct {
	value T
	err   error
	at    time.Time // when all of it was known, zero before
}

// round is one time of asking. Its fields are guarded by the question's mu.
type round[T any] struct {
	answer[T]
	told  bool          // value is a part of the answer at least
	ended bool          // and all of it
	news  chan struct{} // closed when there is more, and replaced unless it has ended
}

// get returns the first answer with which a caller is content, else the whole one.
func (q *question[T]) get(ctx context.Context, content func(T) bool) (T, error) {
	var r *round[T]
	for r == nil {
		last, ok := q.kept(content)
		if ok {
			return last.value, last.err
		}
		r = q.begin(last)
	}
	for {
		now, news := q.look(r)
		if now.ended || (now.told && content(now.value)) {
			return now.value, now.err
		}
		select {
		case <-news:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}

// kept returns the last answer if it will do.
func (q *question[T]) kept(content func(T) bool) (last answer[T], ok bool) {
	q.mu.Lock()
	last = q.last
	q.mu.Unlock()
	age := time.Since(last.at)
	switch {
	case last.at.IsZero():
		return last, false
	case last.err != nil || !content(last.value):
		return last, age < q.times.again
	case age >= q.times.keep && age < q.times.serve:
		q.begin(last)
	}
	return last, age < max(q.times.keep, q.times.serve)
}

// begin returns the round that is under way, or a new one. It is nil if there is an
// answer by now that comes after the last one that was seen.
func (q *question[T]) begin(seen answer[T]) *round[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.round != nil || !q.last.at.Equal(seen.at) {
		return q.round
	}
	r := &round[T]{news: make(chan struct{})}
	if !q.asking.run(func(ctx context.Context) { q.play(ctx, r) }) {
		r.err, r.ended = ErrClosed, true
		return r
	}
	q.round = r
	return r
}

// look returns how far a round is, and what rings when it is further.
func (q *question[T]) look(r *round[T]) (now round[T], news <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *r, r.news
}

// play asks. It runs on a goroutine of its own, since whoever comes first asks for
// all.
func (q *question[T]) play(ctx context.Context, r *round[T]) {
	err := q.ask(ctx, func(value T) {
		q.mu.Lock()
		defer q.mu.Unlock()
		r.value, r.told = value, true
		close(r.news)
		r.news = make(chan struct{})
	})
	if ctx.Err() != nil {
		err = ErrClosed
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	r.err, r.at, r.ended = err, time.Now(), true
	q.last, q.round = r.answer, nil
	close(r.news)
}

// asking is what runs while something is asked, until it is closed.
type asking struct {
	ctx  context.Context // of what runs
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool           // guarded by mu
	running sync.WaitGroup // grows under mu only, while not closed
}

func newAsking() *asking {
	a := new(asking)
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a
}

// run runs f on a goroutine of its own, and returns false if it is too late.
func (a *asking) run(f func(context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.running.Go(func() { f(a.ctx) })
	return true
}

// close ends what runs, and waits for it.
func (a *asking) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}
