package caddymodule

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestShortQueue(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		concurrency, queue int
		run                time.Duration
		inSecond           int
		short              bool
	}{
		"without places, runs unknown":     {8, 0, 0, 0, true},
		"a place, runs unknown":            {8, 1, 0, 0, false},
		"less than a second's worth":       {1, 4, 200 * ms, 5, true},
		"a second's worth":                 {1, 5, 200 * ms, 5, false},
		"runs of many seconds":             {8, 0, 30 * time.Second, 0, false},
		"a run of a second, no place":      {1, 0, time.Second, 1, true},
		"more permits than any limit has":  {1 << 30, 100, time.Nanosecond, 0, true},
		"no limit of permits, which fills": {0, 0, 200 * ms, 0, false},
	} {
		inSecond, short := shortQueue(offloader.Settings{Concurrency: tt.concurrency, Queue: tt.queue}, tt.run)
		if short != tt.short || (tt.inSecond > 0 && inSecond != tt.inSecond) {
			t.Errorf("%s: %d runs, short %v; want %d, %v", name, inSecond, short, tt.inSecond, tt.short)
		}
	}
}
