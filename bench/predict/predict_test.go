package predict

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader"
)

var keep = flag.String("keep", "", "file that the figures are kept in")

// wrongRefusals is how much of what was offered may be refused wrongly.
const wrongRefusals = 0.01

// figures of one mix.
type figures struct {
	served, failed      int
	full, timeout, late int
	clairvoyant         int
	waits               []float64 // of the served, in ms
}

func (f *figures) wrong(offered int) float64 {
	return float64(f.clairvoyant-f.served) / float64(offered)
}

// play lets a mix meet the engine.
func play(t *testing.T, m *mix, order offloader.Order) *figures {
	f := &figures{clairvoyant: m.clairvoyant()}
	synctest.Test(t, func(t *testing.T) {
		set := m.settings
		set.Order = order
		pool, err := offloader.New("mix", set)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var (
			mu      sync.Mutex
			started = map[kind]int{}
			all     sync.WaitGroup
		)
		for _, l := range m.limits {
			all.Go(func() {
				<-time.After(l.at)
				set.Concurrency = l.concurrency
				if err := pool.Configure(set); err != nil {
					t.Error(err)
				}
			})
		}
		for _, a := range m.arrivals {
			<-time.After(a.at - time.Since(began))
			all.Go(func() {
				came := time.Now()
				permit, err := pool.Acquire(context.Background())
				start := time.Since(began)
				mu.Lock()
				if err != nil {
					f.refused(err)
					mu.Unlock()
					return
				}
				k := started[a.kind]
				started[a.kind]++
				f.served++
				f.waits = append(f.waits, float64(time.Since(came))/1e6)
				mu.Unlock()
				<-time.After(m.run(a.kind, k, start))
				outcome := offloader.Success
				if m.fails != nil && m.fails(start) {
					outcome = offloader.Failure
				}
				permit.Release(outcome)
			})
		}
		all.Wait()
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *figures) refused(err error) {
	var rejected *offloader.RejectedError
	if !errors.As(err, &rejected) {
		return
	}
	switch rejected.Reason {
	case offloader.QueueFull:
		f.full++
	case offloader.WaitTimeout:
		f.timeout++
	case offloader.PredictedLate:
		f.late++
	}
}

// What is refused could not have been served, whatever the mix.
func TestPredictions(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "%-46s %7s %7s %7s %7s %7s %7s %7s %7s %8s %8s\n", "mix", "offered", "best", "served", "full", "timeout", "late", "wrong %", "fifo %", "p50 ms", "p99 ms")
	for _, m := range mixes() {
		f, fifo := play(t, &m, offloader.OrderAuto), play(t, &m, offloader.OrderFIFO)
		n := len(m.arrivals)
		fmt.Fprintf(&text, "%-46s %7d %7d %7d %7d %7d %7d %7.2f %7.2f %8.1f %8.1f\n", m.name, n, f.clairvoyant, f.served, f.full, f.timeout, f.late,
			100*f.wrong(n), 100*fifo.wrong(n), stat.Quantile(f.waits, 0.5), stat.Quantile(f.waits, 0.99))
		if got := f.wrong(n); got > wrongRefusals {
			t.Errorf("%s: %.2f %% refused wrongly", m.name, 100*got)
		}
	}
	publish(t, text.String())
}

// publish shows a table, and appends it to the file that is kept.
func publish(t *testing.T, text string) {
	t.Helper()
	t.Log("\n" + text)
	if *keep == "" {
		return
	}
	file, err := os.OpenFile(*keep, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text + "\n"); err != nil {
		t.Fatal(err)
	}
}
