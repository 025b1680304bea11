package predict

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// wrongRefusals is the share of the offered requests that may be rejected wrongly.
const wrongRefusals = 0.01

// In every mix, rejected requests could not have been served: the engine serves
// nearly as many as an order that knows the future.
func TestPredictions(t *testing.T) {
	var text strings.Builder
	text.WriteString("Mixes of work. best: served by an order that knows the future. wrong: (best - served) / offered.\n" +
		"fifo: the same with order fifo. Waits of the served, in ms.\n\n")
	fmt.Fprintf(&text, "%-48s %7s %7s %7s %7s %7s %7s %7s %7s %8s %8s\n",
		"mix", "offered", "best", "served", "full", "timeout", "late", "wrong %", "fifo %", "p50", "p99")
	for _, m := range mixes() {
		f, fifo := m.play(t, offloader.OrderAuto), m.play(t, offloader.OrderFIFO)
		fmt.Fprintf(&text, "%-48s %7d %7d %7d %7d %7d %7d %7.2f %7.2f %8.1f %8.1f\n", m.name, len(m.arrivals),
			f.best, f.served(), f.refused[offloader.QueueFull], f.refused[offloader.WaitTimeout], f.refused[offloader.PredictedLate],
			100*f.wrong(&m), 100*fifo.wrong(&m), stat.Quantile(f.waits, 0.5), stat.Quantile(f.waits, 0.99))
		if got := f.wrong(&m); got > wrongRefusals {
			t.Errorf("%s: %.2f %% refused wrongly", m.name, 100*got)
		}
	}
	publish(t, text.String())
}

// figures of one mix.
type figures struct {
	best int

	mu      sync.Mutex // guards the rest
	started map[kind]int
	refused map[offloader.Reason]int
	waits   []float64 // of the served, in ms
}

func (f *figures) served() int { return len(f.waits) }

func (f *figures) wrong(m *mix) float64 {
	return float64(f.best-f.served()) / float64(len(m.arrivals))
}

// play runs a mix against the engine.
func (m *mix) play(t *testing.T, order offloader.Order) *figures {
	f := &figures{best: m.clairvoyant(), started: map[kind]int{}, refused: map[offloader.Reason]int{}}
	synctest.Test(t, func(t *testing.T) {
		s := m.settings
		s.Order = order
		pool, err := offloader.New("mix", s)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var all sync.WaitGroup
		for _, l := range m.limits {
			all.Go(func() {
				<-time.After(l.at)
				s.Concurrency = l.concurrency
				if err := pool.Configure(s); err != nil {
					t.Error(err)
				}
			})
		}
		for _, a := range m.arrivals {
			<-time.After(a.at - time.Since(began))
			all.Go(func() { m.request(t, pool, began, a.kind, f) })
		}
		all.Wait()
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// request is one arrival, until the end of its run.
func (m *mix) request(t *testing.T, pool *offloader.Pool, began time.Time, of kind, f *figures) {
	came := time.Now()
	permit, err := pool.Acquire(context.Background())
	start := time.Since(began)
	k, ok := f.add(of, err, time.Since(came))
	switch {
	case !ok:
		t.Error(err)
	case err == nil:
		<-time.After(m.run(of, k, start))
		outcome := offloader.Success
		if m.fails != nil && m.fails(start) {
			outcome = offloader.Failure
		}
		permit.Release(outcome)
	}
}

// add counts an answer, and returns how many runs of the kind have begun before. It
// reports false if a pool never gives that answer.
func (f *figures) add(of kind, err error, waited time.Duration) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		rejected, ok := errors.AsType[*offloader.RejectedError](err)
		if ok {
			f.refused[rejected.Reason]++
		}
		return 0, ok
	}
	k := f.started[of]
	f.started[of]++
	f.waits = append(f.waits, stat.Millis([]time.Duration{waited})...)
	return k, true
}
