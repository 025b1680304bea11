package pools

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// rejectionPeriod is the time between two log lines about a pool that rejects requests.
const rejectionPeriod = time.Minute

// rejections reports a pool that rejects requests: once in each period with rejections, and
// once after a period without any. Then no timer runs until the next rejection. A rejection
// within a period costs one atomic read.
type rejections struct {
	pool   *offloader.Pool
	counts func(offloader.Reason) bool // reasons that are reported
	report func(rejectionReport)

	on atomic.Bool // there is a timer

	mu    sync.Mutex // guards the rest
	began time.Time
	until time.Time // end of the last period with a rejection
	first turnout   // before the first rejection
	last  turnout   // at the last report
}

// turnout has the totals of a pool that reports compare.
type turnout struct {
	served   uint64 // requests that were admitted, or left the queue
	rejected map[string]uint64
}

// rejectionReport describes the rejections of a period, or of all periods since the first
// one.
type rejectionReport struct {
	over     bool // there were none in the last period, and the report is of all before
	took     time.Duration
	rejected map[string]uint64 // by reason
	of       uint64            // requests
	now      offloader.Snapshot
}

// observe is called after each rejection.
func (x *rejections) observe(r offloader.Reason) {
	if !x.on.Load() && x.counts(r) {
		x.begin()
	}
}

func (x *rejections) begin() {
	if !x.on.CompareAndSwap(false, true) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	_, now := x.read()
	// The rejection that has begun this period is the only one since the last report, and
	// the next report counts it.
	x.first = turnout{now.served, x.last.rejected}
	x.last = x.first
	x.began = time.Now()
	time.AfterFunc(rejectionPeriod, x.end)
}

// end ends a period.
func (x *rejections) end() {
	if r, again := x.next(); again {
		time.AfterFunc(rejectionPeriod, x.end)
		x.report(r)
	} else {
		x.report(r)
		x.rest()
	}
}

// next returns the report of the period that ends, and whether another one begins.
func (x *rejections) next() (r rejectionReport, again bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, now := x.read()
	r = now.since(x.last)
	if r.total() > 0 {
		x.last, x.until = now, time.Now()
		r.took, r.now = rejectionPeriod, s
		return r, true
	}
	r = x.last.since(x.first)
	r.over, r.took, r.now = true, x.until.Sub(x.began), s
	return r, false
}

// rest ends the periods, unless a rejection came after the last report.
func (x *rejections) rest() {
	x.on.Store(false)
	x.mu.Lock()
	_, now := x.read()
	since := now.since(x.last)
	missed := since.total() > 0
	x.mu.Unlock()
	if missed {
		x.begin()
	}
}

// read returns the pool's numbers.
func (x *rejections) read() (offloader.Snapshot, turnout) {
	s := x.pool.Snapshot()
	now := turnout{s.Admitted + s.Left, make(map[string]uint64)}
	for reason, n := range s.Rejected {
		if x.counts(reason) {
			now.rejected[reason.String()] = n
		}
	}
	return s, now
}

func (t turnout) since(before turnout) rejectionReport {
	r := rejectionReport{rejected: make(map[string]uint64)}
	for reason, n := range t.rejected {
		if n -= before.rejected[reason]; n > 0 {
			r.rejected[reason] = n
		}
	}
	r.of = t.served - before.served + r.total()
	return r
}

func (r *rejectionReport) total() (n uint64) {
	for _, of := range r.rejected {
		n += of
	}
	return n
}

// write logs the report.
func (r *rejectionReport) write(l *zap.Logger) {
	fields := []zap.Field{
		zap.Uint64("rejected", r.total()), zap.Uint64("of", r.of), zap.Duration("took", r.took), zap.Any("reasons", r.rejected),
		zap.Duration("mean_run", r.now.TypicalRun), zap.Int("running", r.now.Running), zap.Int("limit", r.now.Limit),
		zap.Int("waiting", r.now.Waiting), zap.Int("queue_limit", r.now.QueueLimit), zap.Stringer("breaker", r.now.Breaker),
		zap.String("summary", r.summary()),
	}
	if r.over {
		l.Info("pool no longer rejects requests", fields...)
	} else {
		l.Warn("pool rejects requests", fields...)
	}
}

// summary is the report for a reader.
func (r *rejectionReport) summary() string {
	reasons := slices.SortedFunc(maps.Keys(r.rejected), func(a, b string) int {
		if r.rejected[a] != r.rejected[b] {
			return int(r.rejected[b]) - int(r.rejected[a])
		}
		return strings.Compare(a, b)
	})
	for i, reason := range reasons {
		reasons[i] = fmt.Sprintf("%s %d", reason, r.rejected[reason])
	}
	text := fmt.Sprintf("%d of %d rejected in %s: %s", r.total(), r.of, r.took.Round(time.Second), strings.Join(reasons, ", "))
	if r.over {
		return text
	}
	return fmt.Sprintf("%s; mean run %s, %d permits in use, %d waiting",
		text, r.now.TypicalRun.Round(time.Millisecond), r.now.Running, r.now.Waiting)
}
