package cli

import (
	"fmt"
	"strconv"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
)

// share returns a number and its limit.
func share(n, of int) string {
	if of == 0 {
		return fmt.Sprintf("%d/off", n)
	}
	return fmt.Sprintf("%d/%d", n, of)
}

// share returns the number of running requests and of permits, which may be none while all
// are lent.
func (p *pool) share() string {
	if p.Concurrency > 0 {
		return fmt.Sprintf("%d/%d", p.Running, p.Permits)
	}
	return share(p.Running, p.Permits)
}

// tally lists the counters above zero, sorted by name.
func tally(counters map[string]uint64) string {
	return figures.Tally(counters, func(n uint64) string { return strconv.FormatUint(n, 10) })
}
