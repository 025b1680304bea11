package load

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// Done is the kind of a request with a complete and correct answer. Every
// other kind is a short text about the error.
const Done = ""

// Kinds of requests that did not fail on their own.
const (
	GaveUp     = "client gave up"
	Unanswered = "unanswered at the stop"
	NeverSent  = "never sent"
)

// Latencies are quantiles in milliseconds, as the clients measured them.
type Latencies struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Route has the results of the requests to one route.
type Route struct {
	Completed int            `json:"completed"`
	Lost      int            `json:"lost"`
	Errors    map[string]int `json:"errors"` // the lost ones by kind
	Latencies
}

// Tally collects the outcomes of many requests.
type Tally struct {
	mu        sync.Mutex
	kinds     map[string]int  // guarded by mu
	latencies []time.Duration // guarded by mu; sorted by Route
	waiting   int             // guarded by mu; sent and not yet ended
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{kinds: map[string]int{}} }

// Add records one request and the wait of its client.
//
// The quantiles include answers, and clients that gave up, whose wait is at least that
// long. Rejections are left out, since they would make the quantiles look too good. So are
// the requests that were open at the stop, in favour of the run that was stopped.
func (t *Tally) Add(kind string, waited time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kinds[kind]++
	if kind == Done || kind == GaveUp {
		t.latencies = append(t.latencies, waited)
	}
}

// Measure sends one request and records it. Its client has waited since the
// given time.
func (t *Tally) Measure(since time.Time, ask func() (kind string)) {
	t.open(1)
	kind := ask()
	t.Add(kind, time.Since(since))
	t.open(-1)
}

func (t *Tally) open(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting += n
}

// counts returns the numbers of requests that were answered, are lost, and
// wait.
func (t *Tally) counts() (completed, lost, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for kind, n := range t.kinds {
		if kind == Done {
			completed = n
		} else {
			lost += n
		}
	}
	return completed, lost, t.waiting
}

// String returns the counts for the progress line.
func (t *Tally) String() string {
	completed, lost, waiting := t.counts()
	return fmt.Sprintf("%d done, %d waiting, %d lost", completed, waiting, lost)
}

// Route returns the results of a route.
func (t *Tally) Route() Route {
	completed, lost, _ := t.counts()
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := maps.Clone(t.kinds)
	delete(errs, Done)
	slices.Sort(t.latencies)
	return Route{
		Completed: completed, Lost: lost, Errors: errs,
		Latencies: Latencies{
			P50: Milliseconds(quantile(t.latencies, 0.50)),
			P95: Milliseconds(quantile(t.latencies, 0.95)),
			P99: Milliseconds(quantile(t.latencies, 0.99)),
			Max: Milliseconds(quantile(t.latencies, 1)),
		},
	}
}

// quantile returns the smallest of the sorted values that is not below a share
// q of all values, zero if there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Milliseconds rounds to the precision of the clocks.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
