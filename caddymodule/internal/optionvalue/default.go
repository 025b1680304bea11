package optionvalue

import (
	"math"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Off is the number that stands for "off" in JSON.
const Off = -1

// Bounds of numbers: a count fits into any int, the sum of two sizes into an int64.
const (
	MaxCount = math.MaxInt32
	MaxSize  = math.MaxInt64 / 2
)

// OrDefault converts a value of the JSON configuration for the engine: zero, not set,
// becomes def, and Off becomes zero.
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
