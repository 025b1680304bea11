package requests

import (
	"fmt"
	"math"
	"time"
)

// Numbers as sentences have them.

// length returns a duration in two or three digits, such as 293 ms, 4.8 s or 25 min.
func length(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second-time.Millisecond/2:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < 10*time.Second:
		return digits(d, 1)
	case d < 2*time.Minute:
		return digits(d, 0)
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// digits returns seconds with that many decimals, or none for a whole number.
func digits(d time.Duration, decimals int) string {
	if d%time.Second == 0 {
		decimals = 0
	}
	return fmt.Sprintf("%.*f s", decimals, d.Seconds())
}

// exceeding returns the texts of two durations, with so many digits that d looks longer
// than limit, as it is.
func exceeding(d, limit time.Duration) (longer, shorter string) {
	longer, shorter = length(d), length(limit)
	if d-limit > limit/20 && longer != shorter {
		return longer, shorter
	}
	for decimals := 1; decimals < 9; decimals++ {
		longer, shorter = digits(d, decimals), digits(limit, decimals)
		if shown := roundTo(d, decimals); shown > roundTo(limit, decimals) {
			return longer, shorter
		}
	}
	return longer, shorter
}

// roundTo returns seconds as digits shows them.
func roundTo(d time.Duration, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(d.Seconds()*scale) / scale
}

// count returns a number with its noun, which gets an s for all numbers but one.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// be returns the verb for a number in the past.
func be(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// settingAbove returns a value of a setting above d that is easy to write.
func settingAbove(d time.Duration) string {
	step := time.Second
	switch {
	case d < time.Second:
		step = 100 * time.Millisecond
	case d >= 2*time.Minute:
		step = time.Minute
	}
	return trimZeros((d/step + 1) * step)
}

// trimZeros writes 2m, and not 2m0s.
func trimZeros(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}
