package bolt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// newRecord returns a record as of a usual request.
func newRecord() *jobs.Record {
	now := time.Now()
	r := &jobs.Record{
		ID: jobs.NewID(now), Route: "report", Tenant: "acme", Owner: [32]byte{1}, Created: now,
		State: jobs.Queued, Generation: 1, Policy: jobs.Policy{MaxAttempts: 3, Keep: time.Hour},
		Request: jobs.Request{Method: "POST", URI: "/report", Host: "example.com", Scheme: "https", Remote: "192.0.2.1:4711"},
	}
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "User-Agent"} {
		r.Request.Header = append(r.Request.Header, jobs.Field{Name: name, Value: "application/json; charset=utf-8"})
	}
	return r
}

// rawLog is the fastest durable store: it appends to a file, and callers share an fsync.
type rawLog struct {
	file  *os.File
	queue chan rawEntry
}

type rawEntry struct {
	data []byte
	done chan error
}

func newRawLog(b *testing.B) *rawLog {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	l := &rawLog{f, make(chan rawEntry, 256)}
	b.Cleanup(func() { close(l.queue) })
	go func() {
		for e := range l.queue {
			batch, data := []rawEntry{e}, e.data
			for len(l.queue) > 0 {
				e := <-l.queue
				batch, data = append(batch, e), append(data, e.data...)
			}
			_, err := f.Write(data)
			if err == nil {
				err = f.Sync()
			}
			for _, e := range batch {
				e.done <- err
			}
		}
	}()
	return l
}

func (l *rawLog) append(data []byte) error {
	e := rawEntry{data, make(chan error, 1)}
	l.queue <- e
	return <-e.done
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkAccept compares, turn by turn, one accept with one fsynced append of as many bytes.
func BenchmarkAccept(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := open(b, b.TempDir(), bolt.Options{})
			defer e.Close()
			l := newRawLog(b)
			body := make([]byte, size)
			raw := make([]byte, size+600)
			var ours, theirs []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := l.file.Write(raw); err != nil {
					b.Fatal(err)
				}
				if err := l.file.Sync(); err != nil {
					b.Fatal(err)
				}
				theirs = append(theirs, time.Since(began))
				r := newRecord()
				began = time.Now()
				w, err := e.NewBody(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				w.Write(body)
				stored, err := w.End()
				if err == nil {
					_, err = e.Accept(b.Context(), r, stored)
				}
				if err != nil {
					b.Fatal(err)
				}
				ours = append(ours, time.Since(began))
			}
			b.ReportMetric(float64(median(ours))/float64(median(theirs)), "x-raw")
			b.ReportMetric(float64(median(ours).Microseconds()), "accept-µs")
			b.ReportMetric(float64(median(theirs).Microseconds()), "raw-µs")
		})
	}
}

// cycle is the life of a job: accepted, running, ended with a small result.
func cycle(ctx context.Context, e jobs.Engine, body, result []byte) error {
	r := newRecord()
	if _, err := e.Accept(ctx, r, jobs.Body{Inline: body, Size: int64(len(body))}); err != nil {
		return err
	}
	r.State, r.Attempt = jobs.Running, 1
	r.Attempts = append(r.Attempts, jobs.AttemptRecord{Generation: 1, Number: 1, Began: time.Now()})
	if err := e.Update(ctx, r, nil); err != nil {
		return err
	}
	r.State, r.Ended, r.KeepUntil = jobs.Succeeded, time.Now(), time.Now().Add(time.Hour)
	r.Attempts[0].Ended, r.Attempts[0].Class = time.Now(), jobs.Completed
	r.Response = &jobs.Response{Status: 200, Complete: true, Size: int64(len(result)), Header: r.Request.Header}
	return e.Update(ctx, r, result)
}

func rawCycle(l *rawLog, body, result []byte) error {
	for _, size := range []int{600 + len(body), 650, 900 + len(result)} {
		if err := l.append(make([]byte, size)); err != nil {
			return err
		}
	}
	return nil
}

// perSecond lets clients work for a while.
func perSecond(b *testing.B, clients int, work func() error) float64 {
	var done atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range clients {
		group.Go(func() {
			for time.Since(began) < 500*time.Millisecond {
				if err := work(); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// BenchmarkCycle compares the lives of jobs with the same number of appends to a log whose
// callers share their fsyncs.
func BenchmarkCycle(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			e := open(b, b.TempDir(), bolt.Options{})
			defer e.Close()
			l := newRawLog(b)
			body, result := make([]byte, 1<<10), make([]byte, 1<<10)
			var ours, theirs float64
			for b.Loop() {
				theirs += perSecond(b, clients, func() error { return rawCycle(l, slices.Clone(body), result) })
				ours += perSecond(b, clients, func() error { return cycle(b.Context(), e, body, result) })
			}
			b.ReportMetric(ours/theirs, "x-raw")
			b.ReportMetric(ours/float64(b.N), "jobs/s")
		})
	}
}
