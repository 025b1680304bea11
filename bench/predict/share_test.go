package predict

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/hall"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader"
)

var histories = flag.Int("histories", 1, "how many random histories each scenario of shares plays")

// fairly returns the settings of a pool that is fair by key.
func fairly(concurrency int, maxWait time.Duration) offloader.Settings {
	s := settings(concurrency, 200, maxWait)
	s.Fair = true
	return s
}

func gathered(t *testing.T, s offloader.Settings, parties []hall.Party, seed uint64) (used []hall.Usage) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { used = hall.Gather(hall.Pool(s), parties, seed) })
	return used
}

// Two clients with runs of 20 ms and of 2 s, both with as many requests as they like, get
// half of the permit-time each within ten seconds, and the light one waits less than one
// heavy run.
func TestTwoClients(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "Two clients with 50 connections each, runs of 20 ms and 2 s. share: of the light one, in %% of the permit-time.\n\n")
	fmt.Fprintf(&text, "%-8s %-8s %-11s %16s %16s %16s\n", "permits", "max_wait", "heavy alone", "share in 10s", "share in 10-40s", "light wait p99")
	for _, permits := range []int{2, 8, 32} {
		for _, maxWait := range []time.Duration{0, 10 * s} {
			for _, alone := range []time.Duration{0, 30 * s} {
				var first, later, p99 []float64
				for seed := range uint64(*histories) {
					used := gathered(t, fairly(permits, maxWait), hall.TwoClients(alone), seed)
					first = append(first, 100*hall.Share(used, alone, alone+10*s))
					later = append(later, 100*hall.Share(used, alone+10*s, alone+40*s))
					p99 = append(p99, stat.Quantile(used[0].Waits, 0.99))
				}
				name := fmt.Sprintf("%-8d %-8s %-11s", permits, maxWait, alone)
				fmt.Fprintf(&text, "%s %16s %16s %16s\n", name, between(first), between(later), between(p99))
				within(t, name+" share after", later, 45, 55)
				if permits > 2 { // one heavy run is a tenth of what two permits give in 10 s
					within(t, name+" share in 10s", first, 45, 55)
					within(t, name+" p99", p99, 0, 2)
				}
			}
		}
	}
	publish(t, text.String())
}

func between(all []float64) string {
	return fmt.Sprintf("%.3g-%.3g", slices.Min(all), slices.Max(all))
}

func within(t *testing.T, name string, all []float64, from, to float64) {
	t.Helper()
	if slices.Min(all) < from || slices.Max(all) > to {
		t.Errorf("%s: %s, want %v to %v", name, between(all), from, to)
	}
}

// A greedy client with 200 connections does not take from 50 modest ones with one each.
func TestGreedyClient(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "200 connections of one client, and 50 clients with one, runs of 100 ms, 100 places. In parts of a fair share.\n\n")
	fmt.Fprintf(&text, "%-8s %16s %16s\n", "permits", "modest", "greedy")
	for _, permits := range []int{4, 8, 32} {
		var modest, greedy []float64
		for seed := range uint64(*histories) {
			settings := fairly(permits, 10*s)
			settings.Queue = 100
			used := gathered(t, settings, hall.GreedyClient(), seed)
			fair := float64(permits) * 50 / 51
			greedy = append(greedy, used[0].PermitTime(10*s, 60*s)/fair)
			for i := range used[1:] {
				modest = append(modest, used[i+1].PermitTime(10*s, 60*s)/fair)
			}
		}
		fmt.Fprintf(&text, "%-8d %16s %16s\n", permits, between(modest), between(greedy))
		within(t, fmt.Sprint(permits, " permits, modest"), modest, 0.9, 1.1)
	}
	publish(t, text.String())
}

// A flood of made-up keys counts as one client.
func TestMadeUpKeys(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "10 clients with 2 connections, from 10 s on 2000 made-up keys a second, runs of 100 ms. In parts of an eleventh.\n\n")
	fmt.Fprintf(&text, "%-8s %16s %16s\n", "permits", "known", "made up")
	for _, permits := range []int{4, 8, 16} {
		var known, madeUp []float64
		for seed := range uint64(*histories) {
			used := gathered(t, fairly(permits, 10*s), hall.MadeUpKeys(10), seed)
			fair := float64(permits) * 19 / 11
			madeUp = append(madeUp, used[0].PermitTime(11*s, 30*s)/fair)
			for i := range used[1:] {
				known = append(known, used[i+1].PermitTime(11*s, 30*s)/fair)
			}
		}
		fmt.Fprintf(&text, "%-8d %16s %16s\n", permits, between(known), between(madeUp))
		within(t, fmt.Sprint(permits, " permits, known"), known, 0.9, 1.2)
	}
	publish(t, text.String())
}

// A client that comes gets its share in its first second.
func TestNewcomerGetsItsShare(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "Two clients with 50 connections and runs of 500 ms, a third one with runs of 50 ms comes after 20 s.\n\n")
	fmt.Fprintf(&text, "%-8s %26s\n", "permits", "share in its first second")
	for _, permits := range []int{4, 8, 32} {
		var first []float64
		for seed := range uint64(*histories) {
			used := gathered(t, fairly(permits, 10*s), hall.Newcomer(), seed)
			first = append(first, 100*hall.Share(used, 20*s, 21*s))
		}
		fmt.Fprintf(&text, "%-8d %26s\n", permits, between(first))
		within(t, fmt.Sprint(permits, " permits"), first, 25, 100)
	}
	publish(t, text.String())
}

// classed are the settings of a pool with three classes.
func classed(concurrency int, weights ...int) offloader.Settings {
	s := settings(concurrency, 100, 10*s)
	for i, name := range []string{"interactive", "normal", "batch"} {
		s.Classes = append(s.Classes, offloader.Class{Name: name, Weight: weights[i]})
	}
	return s
}

// At five times the load, with each class above its share, the permits are shared by
// weight, and no waiter waits longer than max_wait.
func TestClassesOverloaded(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "Three classes at 5x the load in all for 60 s, 100 places, max_wait 10 s. Shares in %%.\n\n")
	fmt.Fprintf(&text, "%-8s %-12s %-20s %14s %14s %14s %14s\n", "permits", "weights", "runs", "interactive", "normal", "batch", "longest wait")
	for _, permits := range []int{4, 16} {
		for _, weights := range [][]int{{8, 4, 1}, {2, 1, 1}, {1, 1, 1}} {
			for _, runs := range [][]time.Duration{{100 * ms, 100 * ms, 100 * ms}, {50 * ms, 100 * ms, 500 * ms}} {
				shares := make([][]float64, 3)
				var longest []float64
				for seed := range uint64(*histories) {
					var parties []hall.Party
					s := classed(permits, weights...)
					for i, c := range s.Classes {
						parties = append(parties, hall.Party{Claim: offloader.Claim{Class: c.Name}, Run: runs[i], PerSecond: 5.0 / 3 * float64(permits) / runs[i].Seconds(), To: time.Minute})
					}
					used := gathered(t, s, parties, seed)
					for i := range used {
						shares[i] = append(shares[i], 100*used[i].PermitTime(5*time.Second, time.Minute)/55/float64(permits))
						longest = append(longest, stat.Quantile(used[i].Waits, 1))
					}
				}
				name := fmt.Sprintf("%-8d %-12s %-20s", permits, fmt.Sprint(weights), fmt.Sprint(runs))
				fmt.Fprintf(&text, "%s %14s %14s %14s %14s\n", name, between(shares[0]), between(shares[1]), between(shares[2]), between(longest))
				for i, w := range weights {
					want := 100 * float64(w) / float64(weights[0]+weights[1]+weights[2])
					within(t, fmt.Sprint(name, i), shares[i], want-5, want+5)
				}
				within(t, name+" wait", longest, 0, 10)
			}
		}
	}
	publish(t, text.String())
}

// The most urgent class at half of its share waits hardly longer than one run, whatever
// the others do.
func TestUrgentBesideAFlood(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "Weights 8, 4 and 1, runs of 100 ms: the first class at half of its share, the others at 5x the load each. In runs.\n\n")
	fmt.Fprintf(&text, "%-8s %16s %16s\n", "permits", "p99 of its wait", "its longest wait")
	for _, permits := range []int{4, 8, 32} {
		var p99, longest []float64
		for seed := range uint64(*histories) {
			load := float64(permits) / 0.1
			used := gathered(t, classed(permits, 8, 4, 1), []hall.Party{
				{Claim: offloader.Claim{Class: "interactive"}, Run: 100 * ms, PerSecond: load * 4 / 13, To: 60 * s},
				{Claim: offloader.Claim{Class: "normal"}, Run: 100 * ms, PerSecond: load * 5, To: 60 * s},
				{Claim: offloader.Claim{Class: "batch"}, Run: 100 * ms, PerSecond: load * 5, To: 60 * s},
			}, seed)
			p99 = append(p99, stat.Quantile(used[0].Waits, 0.99)/0.1)
			longest = append(longest, stat.Quantile(used[0].Waits, 1)/0.1)
		}
		fmt.Fprintf(&text, "%-8d %16s %16s\n", permits, between(p99), between(longest))
		within(t, fmt.Sprint(permits, " permits"), p99, 0, 1.2)
	}
	publish(t, text.String())
}

// A greedy client with long runs that had the pool alone pays its debt in parts: it is
// never without a permit for longer than two of its runs.
func TestGreedyIsNotStarved(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "One client with 50 connections and runs of 2 s, alone for 30 s; then others with 20 connections and runs of 20 ms.\n\n")
	fmt.Fprintf(&text, "%-8s %-8s %16s %16s\n", "permits", "others", "longest gap (s)", "share of fair")
	for _, load := range []struct{ permits, others int }{{8, 1}, {8, 3}, {8, 7}, {32, 15}} {
		var gaps, parts []float64
		for seed := range uint64(*histories) {
			parties := []hall.Party{{Claim: offloader.Claim{Key: "heavy"}, Run: 2 * s, Connections: 50, To: 90 * s}}
			for i := range load.others {
				parties = append(parties, hall.Party{Claim: offloader.Claim{Key: fmt.Sprint(i)}, Run: 20 * ms, Connections: 20, From: 30 * s, To: 90 * s})
			}
			used := gathered(t, fairly(load.permits, 0), parties, seed)
			gaps = append(gaps, used[0].LongestGap(30*s, 90*s).Seconds())
			parts = append(parts, hall.Share(used, 30*s, 90*s)*float64(load.others+1))
		}
		fmt.Fprintf(&text, "%-8d %-8d %16s %16s\n", load.permits, load.others, between(gaps), between(parts))
		within(t, fmt.Sprint(load), gaps, 0, 4)
	}
	publish(t, text.String())
}
