package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// done is the kind of a request that was answered completely and correctly.
// Every other kind says in words what went wrong.
const done = ""

// Kinds of requests that did not fail by themselves.
const (
	gaveUp     = "client gave up"
	unanswered = "unanswered at the stop"
	neverSent  = "never sent"
)

// tally collects the outcomes of many requests.
type tally struct {
	mu        sync.Mutex
	kinds     map[string]int  // guarded by mu
	latencies []time.Duration // guarded by mu; sorted by route
	waiting   int             // guarded by mu; asked and not yet ended
}

func newTally() *tally { return &tally{kinds: map[string]int{}} }

// add records one request and how long its client waited.
//
// The quantiles speak of answers and of clients who gave up, whose wait is at
// least that long. A refusal is quick for the wrong reason, and what was still
// open at the stop is left out in favour of the run that was stopped.
func (t *tally) add(kind string, waited time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kinds[kind]++
	if kind == done || kind == gaveUp {
		t.latencies = append(t.latencies, waited)
	}
}

// measure makes one request and records it; its client waits since the given
// time.
func (t *tally) measure(since time.Time, ask func() (kind string)) {
	t.open(1)
	kind := ask()
	t.add(kind, time.Since(since))
	t.open(-1)
}

func (t *tally) open(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting += n
}

// counts returns how many requests were answered, are lost and wait.
func (t *tally) counts() (completed, lost, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for kind, n := range t.kinds {
		if kind == done {
			completed = n
		} else {
			lost += n
		}
	}
	return completed, lost, t.waiting
}

// String is for the progress line.
func (t *tally) String() string {
	completed, lost, waiting := t.counts()
	return fmt.Sprintf("%d done, %d waiting, %d lost", completed, waiting, lost)
}

// route returns what was found out about a route.
func (t *tally) route() route {
	completed, lost, _ := t.counts()
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := maps.Clone(t.kinds)
	delete(errs, done)
	slices.Sort(t.latencies)
	return route{
		Completed: completed, Lost: lost, Errors: errs,
		latencies: latencies{
			P50: milliseconds(quantile(t.latencies, 0.50)),
			P95: milliseconds(quantile(t.latencies, 0.95)),
			P99: milliseconds(quantile(t.latencies, 0.99)),
			Max: milliseconds(quantile(t.latencies, 1)),
		},
	}
}

// quantile returns the smallest of the sorted values that at least the share q
// of all values does not exceed, zero if there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
