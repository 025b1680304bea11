// Package predict runs mixes of work against the engine in virtual time and
// compares the number of served requests with that of an order that knows the
// future.
//
// The engine is the real one; only time is virtual. testing/synctest works in
// tests only, so the program is a test:
//
//	go test ./bench/predict -run TestPredictions -count 1 -v -args -keep ../results/predict.txt
package predict

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// kind of a request. Requests of one kind differ only for the backend.
type kind uint8

const (
	ordinary kind = iota
	long          // a stream of events, a report of a day
)

// arrival is one request of a mix.
type arrival struct {
	at   time.Duration
	kind kind
}

// limit is a change of the number of permits.
type limit struct {
	at          time.Duration
	concurrency int
}

// mix is a load and a backend.
type mix struct {
	name     string
	settings offloader.Settings
	arrivals []arrival
	limits   []limit
	// run returns the duration of the k-th run of a kind that starts at the given time. The
	// duration depends on k and not on the request, so that no order of service gains by
	// its choice of requests.
	run func(of kind, k int, start time.Duration) time.Duration
	// fails reports whether a run that starts at the given time fails, nil for
	// never.
	fails func(start time.Duration) bool
}

func settings(concurrency, queue int, maxWait time.Duration) offloader.Settings {
	return offloader.Settings{Concurrency: concurrency, Queue: queue, MaxWait: maxWait}
}

// evenly spaces arrivals over a period.
func evenly(from, to time.Duration, perSecond float64) []arrival {
	var all []arrival
	for i := 0; ; i++ {
		at := from + time.Duration(float64(i)/perSecond*float64(time.Second))
		if at >= to {
			return all
		}
		all = append(all, arrival{at: at})
	}
}

// randomly is evenly with exponential gaps.
func randomly(from, to time.Duration, perSecond float64) []arrival {
	rnd := rand.New(rand.NewPCG(5, 7))
	var all []arrival
	for at := from; at < to; at += time.Duration(rnd.ExpFloat64() / perSecond * float64(time.Second)) {
		all = append(all, arrival{at: at})
	}
	return all
}

// burst is n arrivals at the same time.
func burst(at time.Duration, n int, of kind) []arrival {
	return slices.Repeat([]arrival{{at, of}}, n)
}

// together puts arrivals in order of time.
func together(parts ...[]arrival) []arrival {
	all := slices.Concat(parts...)
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
	return all
}

// always returns the run times of a backend whose ordinary runs take d and long ones l.
func always(d, l time.Duration) func(kind, int, time.Duration) time.Duration {
	return func(of kind, _ int, _ time.Duration) time.Duration {
		if of == long {
			return l
		}
		return d
	}
}

// everyNth returns the run times of a backend where one of n runs, at random, takes l and
// the others d.
func everyNth(d, l time.Duration, n int) func(kind, int, time.Duration) time.Duration {
	rnd := rand.New(rand.NewPCG(3, 4))
	slow := make([]bool, 1<<20)
	for i := range slow {
		slow[i] = rnd.IntN(n) == 0
	}
	return func(_ kind, k int, _ time.Duration) time.Duration {
		if slow[k] {
			return l
		}
		return d
	}
}

// exponentially returns the run times of a backend whose runs take d on average, with
// exponential durations.
func exponentially(d time.Duration) func(kind, int, time.Duration) time.Duration {
	rnd := rand.New(rand.NewPCG(5, 6))
	runs := make([]time.Duration, 1<<18)
	for i := range runs {
		runs[i] = time.Duration(rnd.ExpFloat64() * float64(d))
	}
	return func(_ kind, k int, _ time.Duration) time.Duration { return runs[k] }
}

// stalled stops a backend for a period, with all its runs.
func stalled(from, to time.Duration, run func(kind, int, time.Duration) time.Duration) func(kind, int, time.Duration) time.Duration {
	return func(of kind, k int, start time.Duration) time.Duration {
		d := run(of, k, start)
		if start < to && start+d > from {
			d += to - max(start, from)
		}
		return d
	}
}

// changing returns the run times of a backend whose runs have another duration after each
// of the given times.
func changing(steps ...time.Duration) func(kind, int, time.Duration) time.Duration {
	return func(_ kind, _ int, start time.Duration) time.Duration {
		d := steps[0]
		for i := 1; i+1 < len(steps); i += 2 {
			if start >= steps[i] {
				d = steps[i+1]
			}
		}
		return d
	}
}
