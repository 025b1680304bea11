package pools

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// exiting is the end of the process: admission stops, and admitted requests finish while
// Caddy's grace period lasts.
var exiting struct {
	sync.Mutex
	began time.Time
	was   map[*Pool]offloader.Snapshot // when admission stopped
}

// ended is a context for calls that must not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// ExitBegan is set before admission stops.
var ExitBegan atomic.Bool

// ErrExiting cancels runs whose answers would never end, or are of no use.
var ErrExiting = fmt.Errorf("the process exits: %w", context.Canceled)

// ExitContext is cancelled when admission has stopped.
var ExitContext, endEndless = context.WithCancel(context.Background())

func init() { caddy.OnExit(summarize) }

// BeginExit stops admission to all pools, and ends streams without an end. The requests in
// a pool are admitted, uploads included, and the pools that they enter later admit them.
func BeginExit() {
	ExitBegan.Store(true)
	began, was := time.Now(), make(map[*Pool]offloader.Snapshot)
	running, waiting, uploading := 0, 0, 0
	for _, pool := range All() {
		_ = pool.Drain(ended)
		s := pool.Snapshot()
		was[pool] = s
		running += s.Running
		waiting += s.Waiting
		uploading += s.Announced
	}
	exiting.Lock()
	exiting.began, exiting.was = began, was
	exiting.Unlock()
	logExit(zapcore.InfoLevel, "process exits: admission stopped",
		zap.Int("running", running), zap.Int("waiting", waiting), zap.Int("uploading", uploading))
	endEndless()
}

// All are the living ones and those that were removed but are not empty.
func All() []*Pool { return append(Removed.List(), named()...) }

// finale counts the ends of the requests that were in flight when admission stopped.
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

// finaleOf compares a pool with what it was.
func finaleOf(was, is offloader.Snapshot) finale {
	return finale{
		Finished: int(total(is.Ended) - total(was.Ended)),
		Cut:      is.Running - is.Lingering + is.Waiting + is.Announced,
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

// summarize logs one line at the end of the process: how many requests finished and how
// many were cut, in all and for each pool that was not idle.
func summarize(context.Context) {
	exiting.Lock()
	began, pools := exiting.began, exiting.was
	exiting.Unlock()
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
	logExit(level, text, zap.Int("finished", all.Finished), zap.Int("cut", all.Cut), zap.Int("rejected", all.Rejected),
		zap.Int("left", all.Left), zap.Duration("took", time.Since(began)), zap.Any("pools", each))
}

func logExit(level zapcore.Level, text string, fields ...zap.Field) {
	if c := caddy.Log().Named("offload").Check(level, text); c != nil {
		c.Write(fields...)
	}
}

// Removed are pools that no configuration names, with requests in them.
var Removed poolSet

// poolSet is a set of few pools.
type poolSet struct {
	mu  sync.Mutex
	all []*Pool
}

// add reports whether p was not in the set.
func (s *poolSet) add(p *Pool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.all, p) {
		return false
	}
	s.all = append(s.all, p)
	return true
}

func (s *poolSet) remove(p *Pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(other *Pool) bool { return other == p })
}

func (s *poolSet) List() []*Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}
