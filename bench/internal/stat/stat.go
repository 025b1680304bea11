// Package stat computes the few figures that the bench reports from samples:
// medians, percentiles and intervals of a median. It does not depend on HTTP and
// assumes no distribution, because the noise of a shared machine has none.
package stat

import (
	"math"
	"slices"
	"time"
)

// Median returns the middle of x, the mean of the two middle values when there
// is an even number of them, and NaN when there is none.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(x))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// Quantile returns the smallest value of x that is not below a share q of all
// values (nearest rank), and NaN when x is empty. It never interpolates between
// two samples, so a p99 is a measured latency.
func Quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(x))
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// Ratios divides a by b pair by pair. Pairs are repetitions measured next to
// each other, so that the drift of the machine cancels out.
func Ratios(a, b []float64) []float64 {
	ratios := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	return ratios
}

// Differences subtracts b from a pair by pair, as Ratios divides.
func Differences(a, b []float64) []float64 {
	differences := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		differences = append(differences, a[i]-b[i])
	}
	return differences
}

// Millis converts durations to milliseconds.
func Millis(x []time.Duration) []float64 {
	ms := make([]float64, len(x))
	for i, d := range x {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	return ms
}

// Interval is a median with the interval that has the true median in it, at the
// confidence that it was made with.
type Interval struct {
	Low, Mid, High float64

	Sure bool // there were enough values for the confidence
}

// Width returns the length of the interval.
func (i Interval) Width() float64 { return i.High - i.Low }

// MedianInterval returns the median of x and the order statistics around it that
// have the true median between them with the given confidence (0.9: in at least
// nine cases of ten). They are equally far from both ends. When x has too few
// values for the confidence, they are the extremes, and the interval is not sure.
func MedianInterval(x []float64, confidence float64) Interval {
	if len(x) == 0 {
		return Interval{Low: math.NaN(), Mid: math.NaN(), High: math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(x))
	risk := (1 - confidence) / 2
	k := boundRank(len(sorted), risk)
	return Interval{
		Low: sorted[k], Mid: Median(sorted), High: sorted[len(sorted)-1-k],
		Sure: math.Pow(0.5, float64(len(sorted))) <= risk,
	}
}

// boundRank returns the largest zero-based rank whose order statistic lies above
// the true median with at most the given probability. The number of samples
// below the true median is binomial with p = 1/2; sorted[k] exceeds it exactly
// when at most k samples lie below.
func boundRank(n int, risk float64) int {
	term := math.Pow(0.5, float64(n)) // P(exactly 0 samples below)
	cumulated := term
	rank := 0
	for k := 1; k <= (n-1)/2; k++ {
		term *= float64(n-k+1) / float64(k)
		cumulated += term
		if cumulated > risk {
			break
		}
		rank = k
	}
	return rank
}
