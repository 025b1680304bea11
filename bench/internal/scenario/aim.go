package scenario

import (
	"fmt"
	"math"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

// The rule for measured ratios.
const (
	confidence = 0.9  // of the intervals of medians
	decisive   = 0.02 // widest interval of a ratio that decides
	tolerance  = 0.01 // by which a ratio may be worse than its aim and the noise
)

// verdict is the result of an aim.
type verdict string

const (
	met       verdict = "met"
	missed    verdict = "MISSED"
	undecided verdict = "not decided"
)

// aim is a target for one value, with its result.
type aim struct {
	verdict verdict
	what    string
	text    string // the value and its limit
}

// Missed returns how many aims were missed.
func (r *Report) Missed() int { return r.count(missed) }

// Undecided returns how many aims were measured, but not precisely enough.
func (r *Report) Undecided() int { return r.count(undecided) }

func (r *Report) count(v verdict) int {
	n := 0
	for _, a := range r.aims {
		if a.verdict == v {
			n++
		}
	}
	return n
}

// AtMost records whether a value is within its upper limit.
func (r *Report) AtMost(what string, got, limit float64) {
	r.plain(what, got, got <= limit, fmt.Sprintf("%s, aim <= %s", number(got), number(limit)))
}

// AtLeast records whether a value reaches its lower limit.
func (r *Report) AtLeast(what string, got, limit float64) {
	r.plain(what, got, got >= limit, fmt.Sprintf("%s, aim >= %s", number(got), number(limit)))
}

// plain adds an aim for a value without noise. It leaves out values that were not
// measured.
func (r *Report) plain(what string, got float64, reached bool, text string) {
	if math.IsNaN(got) {
		return
	}
	v := met
	if !reached {
		v = missed
	}
	r.aims = append(r.aims, aim{v, what, text})
}

// RatioAtMost records whether a measured ratio is within its upper limit. noise is
// the deviation of the ratio of two equal targets from 1.
func (r *Report) RatioAtMost(what string, got stat.Interval, limit, noise float64) {
	r.ratio(what, got, decide(got, limit+known(noise)+tolerance), fmt.Sprintf("aim <= %.2fx", limit))
}

// RatioAtLeast records whether a measured ratio reaches its lower limit.
func (r *Report) RatioAtLeast(what string, got stat.Interval, limit, noise float64) {
	mirrored := stat.Interval{Low: -got.High, Mid: -got.Mid, High: -got.Low, Sure: got.Sure}
	r.ratio(what, got, decide(mirrored, -(limit-known(noise)-tolerance)), fmt.Sprintf("aim >= %.2fx", limit))
}

// DifferenceAtMost records whether a measured difference is within its upper limit.
// noise is the difference of two equal targets. More noise than the limit decides
// nothing, unless all of the interval is above both.
func (r *Report) DifferenceAtMost(what string, got stat.Interval, limit, noise float64) {
	noise = known(noise)
	v := met
	switch {
	case math.IsNaN(got.Mid):
		return
	case !got.Sure:
		v = undecided
	case got.Low > limit+noise:
		v = missed
	case noise > limit:
		v = undecided
	case got.Mid > limit+noise:
		v = missed
	}
	text := difference(got)
	if noise > 0 {
		text += fmt.Sprintf(", noise %.3f", noise)
	}
	r.aims = append(r.aims, aim{v, what, fmt.Sprintf("%s, aim <= %s", text, number(limit))})
}

// WithinSpread records whether a ratio is as near to 1 as the ratio of two equal
// targets, or below.
func (r *Report) WithinSpread(what string, got, equals stat.Interval) {
	limit := 1 + spread(equals)
	v := met
	switch {
	case !got.Sure || !equals.Sure:
		v = undecided
	case got.Mid > limit+tolerance:
		v = missed
	}
	text := "aim: the spread of caddy-again"
	if equals.Sure {
		text = fmt.Sprintf("aim <= %.3fx, the spread of caddy-again", limit)
	}
	r.ratio(what, got, v, text)
}

// spread returns the farthest distance of an interval from 1.
func spread(equals stat.Interval) float64 {
	return math.Max(math.Abs(equals.Low-1), math.Abs(equals.High-1))
}

// ratio adds an aim for a ratio. It leaves out ratios that were not measured.
func (r *Report) ratio(what string, got stat.Interval, v verdict, limit string) {
	if !math.IsNaN(got.Mid) {
		r.aims = append(r.aims, aim{v, what, fmt.Sprintf("%sx, %s", interval(got), limit)})
	}
}

// decide judges a ratio that must not be above worst. A ratio with a wide interval
// decides nothing, unless all of the interval is above.
func decide(got stat.Interval, worst float64) verdict {
	switch {
	case !got.Sure:
		return undecided
	case got.Low > worst:
		return missed
	case !precise(got):
		return undecided
	case got.Mid > worst:
		return missed
	default:
		return met
	}
}

// precise reports whether the interval of a ratio is narrow enough to decide, in
// the three decimals that are shown.
func precise(got stat.Interval) bool {
	return got.Sure && math.Round(1000*got.Width()) <= 1000*decisive
}

// known returns the noise, or 0 if it was not measured.
func known(noise float64) float64 {
	if math.IsNaN(noise) {
		return 0
	}
	return noise
}

// interval formats a ratio with its interval, if that is sure.
func interval(i stat.Interval) string { return formatted(i, "%.3f") }

// difference formats a difference with its interval, if that is sure.
func difference(i stat.Interval) string { return formatted(i, "%+.3f") }

func formatted(i stat.Interval, verb string) string {
	switch {
	case math.IsNaN(i.Mid):
		return "-"
	case !i.Sure:
		return fmt.Sprintf(verb, i.Mid)
	default:
		return fmt.Sprintf(verb+" ["+verb+", "+verb+"]", i.Mid, i.Low, i.High)
	}
}
