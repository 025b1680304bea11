package pools

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Exit is the end of the process: admission stops, and admitted requests finish while
// Caddy's grace period lasts.
type Exit struct {
	// Began is set before admission stops.
	Began atomic.Bool
	// Context is cancelled when admission has stopped.
	Context    context.Context
	endEndless context.CancelFunc // cancels Context

	mu    sync.Mutex // guards the rest
	began time.Time
	was   map[*Pool]offloader.Snapshot // when admission stopped, nil before
}

// ErrExiting is the cause with which the exit cancels runs whose answers never end, or have
// no client.
var ErrExiting = fmt.Errorf("the process exits: %w", context.Canceled)

// NewExit returns an exit that has not begun.
func NewExit() *Exit {
	x := new(Exit)
	x.Context, x.endEndless = context.WithCancel(context.Background())
	return x
}

// Begin stops admission to all pools, and ends endless streams. Requests in a pool stay
// admitted, also those that upload, and so do pools that they enter later.
func (x *Exit) Begin(t *Table) {
	x.Began.Store(true)
	began, was := time.Now(), make(map[*Pool]offloader.Snapshot)
	running, waiting, uploading := 0, 0, 0
	for _, pool := range t.All() {
		_ = pool.Drain(ended)
		s := pool.Snapshot()
		was[pool] = s
		running += s.Running
		waiting += s.Waiting
		uploading += s.Announced
	}
	x.mu.Lock()
	x.began, x.was = began, was
	x.mu.Unlock()
	Logger().Info("process exits: admission stopped",
		zap.Int("running", running), zap.Int("waiting", waiting), zap.Int("uploading", uploading))
	x.endEndless()
}

// finale counts how the requests ended that were in flight when admission stopped.
type finale struct {
	Finished int `json:"finished"`
	Cut      int `json:"cut"`      // ended by the process's end
	Rejected int `json:"rejected"` // new requests, and waiters after max_wait
	Left     int `json:"left"`
}

func (f *finale) add(other finale) {
	f.Finished += other.Finished
	f.Cut += other.Cut
	f.Rejected += other.Rejected
	f.Left += other.Left
}

// finaleOf compares the numbers of a pool now with those when admission stopped.
func finaleOf(was, is offloader.Snapshot) finale {
	return finale{
		Finished: int(total(is.Ended) - total(was.Ended)),
		Cut:      is.Running - is.Lingering + is.Preflights + is.Waiting + is.Announced,
		Rejected: int(total(is.Rejected) - total(was.Rejected)),
		Left:     int(is.Left - was.Left),
	}
}

func total[K comparable](counts map[K]uint64) (sum uint64) {
	for n := range maps.Values(counts) {
		sum += n
	}
	return sum
}

// Summarize logs one line at the end of the process: how many requests finished and how
// many were cut, in all and for each pool that was not idle.
func (x *Exit) Summarize(context.Context) {
	x.mu.Lock()
	began, pools := x.began, x.was
	x.mu.Unlock()
	if pools == nil {
		return
	}
	var all finale
	each := make(map[string]finale)
	for pool, was := range pools {
		f := finaleOf(was, pool.Snapshot())
		if f != (finale{}) {
			all.add(f)
			sum := each[pool.Name()] // a removed one may have had the same name
			sum.add(f)
			each[pool.Name()] = sum
		}
	}
	level, text := zapcore.InfoLevel, "process exits: all admitted requests finished"
	if all.Cut > 0 {
		level, text = zapcore.WarnLevel, "process exits: unfinished requests cut"
	}
	Logger().Log(level, text, zap.Int("finished", all.Finished), zap.Int("cut", all.Cut), zap.Int("rejected", all.Rejected),
		zap.Int("left", all.Left), zap.Duration("took", time.Since(began)), zap.Any("pools", each))
}
