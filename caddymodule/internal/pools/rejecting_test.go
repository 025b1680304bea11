package pools

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// rejecting is a pool without a queue, whose only permit is taken, and the reports about it.
type rejecting struct {
	t     *testing.T
	began time.Time
	pool  *offloader.Pool

	mu      sync.Mutex
	reports []string // guarded by mu
}

func newRejecting(t *testing.T) *rejecting {
	t.Helper()
	r := &rejecting{t: t, began: time.Now()}
	x := &rejections{counts: offloader.Reason.Shed}
	pool, err := offloader.New("reports", offloader.Settings{Concurrency: 1}, offloader.WithRejectionObserver(x.observe))
	if err != nil {
		t.Fatal(err)
	}
	x.pool, r.pool = pool, pool
	x.report = func(report rejectionReport) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reports = append(r.reports, fmt.Sprintf("at %s: over %t, %d of %d in %s",
			time.Since(r.began), report.over, report.total(), report.of, report.took))
	}
	return r
}

// reject lets n callers come that are rejected.
func (r *rejecting) reject(n int) {
	r.t.Helper()
	for range n {
		if _, err := r.pool.TryAcquire(); err == nil {
			r.t.Fatal("a caller was admitted")
		}
	}
}

func (r *rejecting) at(d time.Duration) {
	<-time.After(d - time.Since(r.began))
	synctest.Wait()
}

func (r *rejecting) want(reports ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got, want := strings.Join(r.reports, "\n"), strings.Join(reports, "\n"); got != want {
		r.t.Errorf("reported\n%s\nwant\n%s", got, want)
	}
	r.reports = nil
}

// While a pool rejects there is one report a minute, and one when that is over.
func TestRejectionsAreReportedEachMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRejecting(t)
		for range 3 {
			permit, err := r.pool.TryAcquire()
			if err != nil {
				t.Fatal(err)
			}
			permit.Release(offloader.Success)
		}
		permit, err := r.pool.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.pool.Reject(offloader.Cancelled)
		r.at(10 * time.Minute)
		r.want()

		r.reject(5)
		r.at(10*time.Minute + 30*time.Second)
		permit.Release(offloader.Success)
		if permit, err = r.pool.TryAcquire(); err != nil {
			t.Fatal(err)
		}
		r.reject(1)
		r.at(11*time.Minute + time.Second)
		r.want("at 11m0s: over false, 6 of 7 in 1m0s")
		r.reject(2)
		r.at(12*time.Minute + time.Second)
		r.want("at 12m0s: over false, 2 of 2 in 1m0s")
		r.at(13*time.Minute + time.Second)
		r.want("at 13m0s: over true, 8 of 9 in 2m0s")
		r.at(time.Hour)
		r.want()

		r.reject(1) // again, with fresh numbers
		r.at(time.Hour + 3*time.Minute)
		r.want("at 1h1m0s: over false, 1 of 1 in 1m0s", "at 1h2m0s: over true, 1 of 1 in 1m0s")
		permit.Release(offloader.Success)
	})
}

// The lines have a constant text, the numbers in fields, and one field for a reader.
func TestLinesAboutRejections(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zapcore.DebugLevel)
	r := rejectionReport{
		took: time.Minute, of: 335, rejected: map[string]uint64{"predicted_late": 16, "queue_full": 280},
		now: offloader.Snapshot{TypicalRun: 302*time.Millisecond + 5, Running: 3, Limit: 3, Waiting: 100, QueueLimit: 100, Breaker: offloader.StateClosed},
	}
	r.write(zap.New(core))
	r.over, r.took = true, 5*time.Minute
	r.write(zap.New(core))
	for i, want := range []struct {
		level         zapcore.Level
		text, summary string
	}{
		{zapcore.WarnLevel, "pool rejects requests", "296 of 335 rejected in 1m0s: queue_full 280, predicted_late 16; mean run 302ms, 3 permits in use, 100 waiting"},
		{zapcore.InfoLevel, "pool no longer rejects requests", "296 of 335 rejected in 5m0s: queue_full 280, predicted_late 16"},
	} {
		line := lines.All()[i]
		fields := line.ContextMap()
		if line.Level != want.level || line.Message != want.text || fields["summary"] != want.summary {
			t.Errorf("the line is %s %s: %v", line.Level, line.Message, fields["summary"])
		}
		if fields["rejected"] != uint64(296) || fields["of"] != uint64(335) || fields["limit"] != int64(3) || fmt.Sprint(fields["reasons"]) != "map[predicted_late:16 queue_full:280]" {
			t.Errorf("the fields are %v", fields)
		}
	}
}
