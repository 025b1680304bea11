package predict

import (
	"fmt"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// mixes are all mixes of the test.
func mixes() []mix {
	var all []mix
	add := func(m mix) { all = append(all, m) }
	for _, factor := range []float64{0.5, 1, 2, 3, 5, 10} {
		add(mix{
			name: fmt.Sprintf("steady, %gx", factor), settings: settings(8, 64, 500*ms),
			arrivals: evenly(0, 10*s, factor*160), run: always(50*ms, 0),
		})
	}
	for _, factor := range []float64{0.8, 1, 1.2, 3} {
		add(mix{
			name: fmt.Sprintf("at random, %gx", factor), settings: settings(8, 64, 500*ms),
			arrivals: randomly(0, 120*s, factor*160), run: always(50*ms, 0),
		})
	}
	add(mix{
		name: "bursts of 100", settings: settings(8, 100, 10*s),
		arrivals: together(burst(0, 100, ordinary), burst(10*s, 100, ordinary), burst(20*s, 100, ordinary)), run: always(200*ms, 0),
	})
	add(mix{
		name: "a burst of nearly max_wait", settings: settings(8, 1000, 10*s),
		arrivals: together(evenly(0, 5*s, 20), burst(5*s, 380, ordinary)), run: always(200*ms, 0),
	})
	add(mix{
		name: "a burst of twice max_wait", settings: settings(8, 1000, 10*s),
		arrivals: together(evenly(0, 5*s, 20), burst(5*s, 800, ordinary)), run: always(200*ms, 0),
	})
	for _, factor := range []float64{0.7, 1.5} {
		add(mix{
			name: fmt.Sprintf("95%% 50ms, 5%% 2s, %gx", factor), settings: settings(8, 1000, 10*s),
			arrivals: randomly(0, 300*s, factor*8/0.1475), run: everyNth(50*ms, 2*s, 20),
		})
	}
	for _, factor := range []float64{0.6, 1.5} {
		add(mix{
			name: fmt.Sprintf("98%% 100ms, 2%% 60s, %gx", factor), settings: settings(8, 100, 10*s),
			arrivals: randomly(0, 600*s, factor*8/1.298), run: everyNth(100*ms, 60*s, 50),
		})
	}
	add(mix{
		name: "bursts of 40 a second, each 500th takes 60s", settings: settings(8, 100, 10*s),
		arrivals: together(bursts(0, 75, s, 40)...), run: everyNth(100*ms, 60*s, 500),
	})
	return append(all, trouble()...)
}

// trouble returns mixes that have misled predictions before.
func trouble() []mix {
	all := []mix{{
		name: "bursts after streams of 6s", settings: settings(2, 100, 4*s),
		arrivals: together(burst(0, 20, ordinary), burst(2*s, 2, long), burst(8*s, 2, long),
			burst(15*s, 20, ordinary), burst(20*s, 20, ordinary), burst(25*s, 20, ordinary)),
		run: always(100*ms, 6*s),
	}, {
		name: "bursts between streams of 8s, nothing before", settings: settings(2, 100, 4*s),
		arrivals: together(burst(0, 2, long), burst(8*s, 2, long), burst(16*s+ms, 20, ordinary), burst(20*s, 1, long), burst(21*s, 20, ordinary)),
		run:      always(100*ms, 8*s),
	}, {
		name: "60 runs after six streams of 15s", settings: settings(8, 100, 10*s),
		arrivals: together(burst(0, 6, long), burst(16*s, 60, ordinary)), run: always(50*ms, 15*s),
	}, {
		name: "10,000 wait while all stalls for 5s", settings: settings(8, 10_000, 10*s),
		arrivals: together(evenly(0, s, 1000), evenly(s, 5*s, 2500)), run: stalled(s, 6*s, always(560*time.Microsecond, 0)),
	}, {
		name: "0.9x with a stall of 5s", settings: settings(8, 1000, 10*s),
		arrivals: evenly(0, 60*s, 0.9*80), run: stalled(20*s, 25*s, always(100*ms, 0)),
	}, {
		name: "1.5x with a stall of 5s", settings: settings(8, 1000, 10*s),
		arrivals: evenly(0, 600*s, 1.5*80), run: stalled(20*s, 25*s, always(100*ms, 0)),
	}}
	for _, run := range []time.Duration{time.Minute, 10 * time.Minute, 24 * time.Hour} {
		all = append(all, mix{
			name: fmt.Sprintf("one run of %s among runs of 10ms", run), settings: settings(8, 100, 10*s),
			arrivals: together(evenly(0, 5*s, 500), burst(5*s, 1, long), evenly(run, run+10*s, 600), burst(run+5*s, 60, ordinary), burst(run+6*s, 60, ordinary)),
			run:      always(10*ms, run),
		})
	}
	return append(all, changes()...)
}

// changes returns mixes with backends and pools that change, and with runs of all lengths.
func changes() []mix {
	return []mix{{
		name: "one permit, 0.9x, stalls of 3s", settings: settings(1, 1000, 10*s),
		arrivals: randomly(0, 300*s, 9),
		run:      stalled(30*s, 33*s, stalled(60*s, 63*s, stalled(200*s, 203*s, always(100*ms, 0)))),
	}, {
		name: "64 permits, 0.9x, stalls of 3s", settings: settings(64, 10_000, 10*s),
		arrivals: randomly(0, 60*s, 576), run: stalled(30*s, 33*s, stalled(20*s, 23*s, always(100*ms, 0))),
	}, {
		name: "exponential runs, 0.95x", settings: settings(8, 1000, 5*s),
		arrivals: randomly(0, 300*s, 76), run: exponentially(100 * ms),
	}, {
		name: "exponential runs, 1.5x", settings: settings(8, 1000, 5*s),
		arrivals: randomly(0, 300*s, 120), run: exponentially(100 * ms),
	}, {
		name: "fails in 1ms, then runs of 100ms", settings: settings(8, 100, 10*s),
		arrivals: together(evenly(0, 20*s, 70), burst(5*s, 80, ordinary), burst(12*s, 80, ordinary)), run: changing(100*ms, 3*s, ms, 10*s, 100*ms),
		fails: func(start time.Duration) bool { return start >= 3*s && start < 10*s },
	}, {
		name: "a cold start of 8s", settings: settings(8, 200, 10*s),
		arrivals: together(burst(0, 100, ordinary), evenly(1, 20*s, 10)), run: changing(8*s, 8*s, 100*ms),
	}, {
		name: "8 permits, then 2, then 16", settings: settings(8, 100, 10*s),
		arrivals: together(evenly(0, 10*s, 60), evenly(10*s, 20*s, 16), burst(15*s, 40, ordinary), evenly(20*s, 30*s, 120)),
		limits:   []limit{{10 * s, 2}, {20 * s, 16}}, run: always(100*ms, 0),
	}, {
		name: "5x slower for good, 2x then", settings: settings(8, 64, 2*s),
		arrivals: evenly(0, 60*s, 64), run: changing(50*ms, 10*s, 250*ms),
	}, {
		name: "5x faster after 2x", settings: settings(8, 64, 2*s),
		arrivals: evenly(0, 60*s, 64), run: changing(250*ms, 30*s, 50*ms),
	}}
}

// bursts returns n bursts at intervals of every.
func bursts(from time.Duration, n int, every time.Duration, size int) [][]arrival {
	var all [][]arrival
	for i := range n {
		all = append(all, burst(from+time.Duration(i)*every, size, ordinary))
	}
	return all
}
