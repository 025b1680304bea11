package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

const (
	fewStored = 1000
	// openPart: one of so many stored jobs has not ended.
	openPart = 100
	// fillers store jobs at the same time, and share the commits.
	fillers = 256
	tries   = 200
)

// fullStore compares a store with a million jobs with one of a thousand, of which one of a
// hundred has not ended.
func (b *bench) fullStore(ctx context.Context) error {
	few, err := b.look(ctx, fewStored)
	if err != nil {
		return err
	}
	many, err := b.look(ctx, b.stored)
	if err != nil {
		return err
	}
	b.printf("\nA store with %d jobs, and one with %d: medians of %d.\n\n", fewStored, b.stored, tries)
	b.printf("%-20s %12s %12s\n", "", "few", "many")
	for i, name := range []string{"page of 50 jobs", "lookup", "accept"} {
		b.printf("%-20s %12s %12s\n", name, micros(few.times[i]), micros(many.times[i]))
	}
	b.printf("%-20s %12s %12s\n\n", "open and recover", few.opened.Round(time.Millisecond), many.opened.Round(time.Millisecond))
	for i, name := range []string{"page of a full store", "lookup in a full store", "accept into a full store"} {
		ratio := many.times[i] / few.times[i]
		b.aim(name+", to one with 1,000 jobs", ratio, "<= 1.50", ratio <= 1.5)
	}
	b.aim("seconds to open and recover a full store", many.opened.Seconds(), "< 2", many.opened < 2*time.Second)
	return nil
}

func micros(seconds float64) string { return fmt.Sprintf("%.0f µs", 1e6*seconds) }

// looked has the times of a store, in seconds: of a page, a lookup and an accept.
type looked struct {
	times  [3]float64
	opened time.Duration
}

// look fills a store, opens it again, and measures.
func (b *bench) look(ctx context.Context, n int) (l looked, err error) {
	folder := filepath.Join(b.folder, fmt.Sprint("stored-", n))
	engine, err := bolt.Open(folder, bolt.Options{MaxBytes: -1, MinFree: -1})
	if err != nil {
		return l, fmt.Errorf("opening a store: %w", err)
	}
	ids, err := fill(ctx, engine, n)
	if err != nil {
		return l, err
	}
	if err := engine.Close(); err != nil {
		return l, fmt.Errorf("closing a store: %w", err)
	}
	began := time.Now()
	if engine, err = bolt.Open(folder, bolt.Options{MaxBytes: -1, MinFree: -1}); err != nil {
		return l, fmt.Errorf("opening a store: %w", err)
	}
	service, err := jobs.Open(ctx, engine, jobs.Options{})
	if err != nil {
		return l, fmt.Errorf("opening a service: %w", err)
	}
	l.opened = time.Since(began)
	for i, f := range []func(int) error{
		func(int) error {
			_, err := service.List(ctx, jobs.Query{Limit: 50})
			return err
		},
		func(i int) error {
			_, err := service.Get(ctx, ids[i*len(ids)/tries])
			return err
		},
		func(int) error {
			_, err := service.Accept(ctx, jobs.Submission{Route: "bench", Policy: jobs.Policy{MaxAttempts: 1}})
			return err
		},
	} {
		if l.times[i], err = medianOf(f); err != nil {
			return l, fmt.Errorf("measuring a store: %w", err)
		}
	}
	if err := service.Close(ctx); err != nil {
		return l, fmt.Errorf("closing a service: %w", err)
	}
	return l, nil
}

func medianOf(f func(int) error) (float64, error) {
	var all []float64
	for i := range tries {
		began := time.Now()
		if err := f(i); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began).Seconds())
	}
	return stat.Median(all), nil
}

// fill stores jobs, and returns their IDs.
func fill(ctx context.Context, engine jobs.Engine, n int) ([]jobs.ID, error) {
	ids := make([]jobs.ID, n)
	all, ctx := errgroup.WithContext(ctx)
	for worker := range fillers {
		all.Go(func() error {
			for i := worker; i < n; i += fillers {
				r := record(i)
				ids[i] = r.ID
				if _, err := engine.Accept(ctx, r, jobs.Body{}); err != nil {
					return fmt.Errorf("filling a store: %w", err)
				}
				if i%openPart == 0 {
					continue
				}
				r.State, r.Ended, r.KeepUntil = jobs.Succeeded, time.Now(), time.Now().Add(24*time.Hour)
				r.Response = &jobs.Response{Status: 200, Complete: true}
				if err := engine.Update(ctx, r, []byte{}); err != nil {
					return fmt.Errorf("filling a store: %w", err)
				}
			}
			return nil
		})
	}
	return ids, all.Wait()
}

// record is a job as a client of a usual API makes it.
func record(i int) *jobs.Record {
	now := time.Now()
	return &jobs.Record{
		ID: jobs.NewID(now), Route: "bench", Tenant: fmt.Sprint("tenant ", i%100), State: jobs.Queued, Created: now, Generation: 1,
		Request: jobs.Request{
			Method: "POST", URI: "/report?number=1", Host: "example.com", Scheme: "https", Remote: "192.0.2.7:4711",
			Header: []jobs.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Accept", Value: "application/json"}, {Name: "User-Agent", Value: "bench/1"}},
		},
		Policy: jobs.Policy{MaxAttempts: 4, AttemptTimeout: time.Minute, Keep: 24 * time.Hour, KeepDead: 24 * time.Hour},
	}
}
