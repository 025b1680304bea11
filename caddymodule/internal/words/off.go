package words

import (
	"time"

	"github.com/caddyserver/caddy/v2"
)

// OrDefault reads a setting whose zero means its default and whose -1 means off, which is
// zero for the engine.
func OrDefault[T comparable](v, def T) T {
	var zero T
	switch any(v) {
	case any(zero):
		return def
	case any(int(Off)), any(int64(Off)), any(float64(Off)), any(time.Duration(Off)), any(caddy.Duration(Off)):
		return zero
	}
	return v
}

// AtLeast are counts of which only the least is bounded.
func AtLeast(least int, mayBeOff bool) Counts {
	return Counts{Least: least, Most: MaxCount, MayBeOff: mayBeOff}
}
