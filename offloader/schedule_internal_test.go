package offloader

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// However the wishes for moments come, booked ones keep their distance, and none is before
// its wish.
func TestScheduleKeepsTheSpacing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var s schedule
		spacing := moment(1 + rnd.IntN(int(time.Second)))
		now := moment(rnd.IntN(int(time.Hour)))
		var all []moment
		for range 300 {
			now += moment(rnd.IntN(int(300 * time.Millisecond)))
			at := now + moment(time.Second) + moment(rnd.IntN(int(20*time.Second)))
			m, ok := s.book(at, now+moment(maxRetry), spacing)
			if !ok {
				continue
			}
			if m < at || m > now+moment(maxRetry) {
				t.Fatalf("seed %d: booked %d for %d at %d", seed, m, at, now)
			}
			all = append(all, m)
		}
		slices.Sort(all)
		for i := range all[1:] {
			if gap := all[i+1] - all[i]; float64(gap) < 0.89*float64(spacing) {
				t.Fatalf("seed %d: %d and %d are closer than %d", seed, all[i], all[i+1], spacing)
			}
		}
	}
}

// Wishes for the same moment fill the time from then on, up to the end.
func TestScheduleFillsTheTime(t *testing.T) {
	t.Parallel()
	for _, spacing := range []time.Duration{3 * time.Millisecond, 222 * time.Millisecond, 700 * time.Millisecond, time.Second} {
		var s schedule
		at := moment(1234 * time.Millisecond)
		end := at + moment(50*time.Second)
		n := 0
		for {
			if _, ok := s.book(at, end, moment(spacing)); !ok {
				break
			}
			n++
		}
		if want := int(50 * time.Second / spacing); n < want || n > want+1 {
			t.Errorf("%d moments with a spacing of %s, want %d", n, spacing, want)
		}
	}
}
