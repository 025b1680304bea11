package statuspage

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

// none is shown in place of a missing number.
const none = "–"

// brief returns a duration in at most six characters.
func brief(d time.Duration) string { return figures.Brief(d, none) }

// rate returns a number of events a second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 9.95:
		return fmt.Sprintf("%.1f", perSecond)
	}
	return humanize.Comma(int64(perSecond + .5))
}

func count(n uint64) string { return humanize.Comma(int64(n)) }

// share returns a number and its limit.
func share(n, of int) string {
	if of == 0 {
		return fmt.Sprintf("%d / no limit", n)
	}
	return fmt.Sprintf("%d / %d", n, of)
}

// percent returns n as a part of its limit, for the length of a bar. Without a limit the
// bar is half full.
func percent(n, of int) int {
	switch {
	case n <= 0:
		return 0
	case of <= 0:
		return 50
	}
	return min(100, max(1, 100*n/of))
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// tally lists the counters above zero, sorted by name.
func tally(counters map[string]uint64) string {
	return figures.Tally(counters, count)
}

// quantile returns an estimate from buckets.
func quantile(d pools.Distribution, q float64) string {
	seconds, ok := d.Quantile(q)
	switch {
	case !ok:
		return none
	case seconds == 0:
		return "0"
	}
	return brief(time.Duration(seconds * float64(time.Second)))
}
