package statuspage

import (
	"math"
	"strconv"
	"time"
)

// The history has two resolutions: one second for the last two minutes, and five seconds
// for the last fifteen minutes.
const (
	fineStep     = time.Second
	fineLength   = 120
	coarseStep   = 5 * time.Second
	coarseLength = 180
)

// point is one step of the history of a pool, or of all pools together.
type point struct {
	at       int64 // the number of the step since 1970
	merged   float64
	admitted float64      // a second
	rejected []reasonRate // a second, sorted by reason
	waiting  float64
	wait     float64 // p95 in seconds, NaN without one
}

// reasonRate is how many requests were rejected for a reason, a second.
type reasonRate struct {
	reason string
	rate   float64
}

// series is the history at one resolution. Steps without a viewer are missing.
type series struct {
	step   time.Duration
	length int
	points []point
}

// fillable is the largest number of missing steps that the next point fills: its rates are
// averages of the time since the last point. A longer time is shown as a gap.
const fillable = 5

// add adds a point to the step of its time: rates within a step are averaged, and of
// waiting requests and waits the largest values count. It also fills the steps since the
// last point.
func (s *series) add(at time.Time, p point) {
	p.at, p.merged = at.UnixNano()/int64(s.step), 1
	if n := len(s.points); n > 0 && s.points[n-1].at == p.at {
		s.points[n-1] = s.points[n-1].with(p)
		return
	}
	if n := len(s.points); n > 0 && p.at-s.points[n-1].at <= fillable {
		for late := s.points[n-1].at + 1; late < p.at; late++ {
			filled := p
			filled.at = late
			s.points = append(s.points, filled)
		}
	}
	s.points = append(s.points, p)
	for s.points[0].at <= p.at-int64(s.length) {
		s.points = s.points[1:]
	}
}

// with merges another point of the same step.
func (p point) with(other point) point {
	n := p.merged
	mean := func(a, b float64) float64 { return (a*n + b) / (n + 1) }
	p.admitted = mean(p.admitted, other.admitted)
	p.waiting = max(p.waiting, other.waiting)
	p.wait = larger(p.wait, other.wait)
	p.merged++
	var rejected []reasonRate
	for _, reason := range reasonsOf([]point{p, other}) {
		rejected = append(rejected, reasonRate{reason, mean(p.rejectedFor(reason), other.rejectedFor(reason))})
	}
	p.rejected = rejected
	return p
}

// larger ignores a NaN.
func larger(a, b float64) float64 {
	switch {
	case math.IsNaN(a):
		return b
	case math.IsNaN(b):
		return a
	}
	return max(a, b)
}

func (p point) rejectedFor(reason string) float64 {
	for _, r := range p.rejected {
		if r.reason == reason {
			return r.rate
		}
	}
	return 0
}

// reasonsOf lists the reasons of all points, in the order of their first use.
func reasonsOf(points []point) []string {
	var reasons []string
	seen := make(map[string]bool)
	for _, p := range points {
		for _, r := range p.rejected {
			if !seen[r.reason] {
				seen[r.reason] = true
				reasons = append(reasons, r.reason)
			}
		}
	}
	return reasons
}

// plot has the values of a series, one for each step, in the form for JavaScript.
type plot struct {
	Step     int                `json:"step"` // in seconds
	Admitted numbers            `json:"admitted"`
	Waiting  numbers            `json:"waiting"`
	Wait     numbers            `json:"wait"`
	Rejected map[string]numbers `json:"rejected"`
}

// numbers are written as JSON with four digits; a NaN, for a step that is missing, is null.
type numbers []float64

// plotUntil returns the values of the steps that end at that time.
func (s *series) plotUntil(at time.Time) plot {
	last := at.UnixNano() / int64(s.step)
	p := plot{Step: int(s.step / time.Second), Admitted: s.missing(), Waiting: s.missing(), Wait: s.missing(), Rejected: map[string]numbers{}}
	reasons := reasonsOf(s.points)
	for _, reason := range reasons {
		p.Rejected[reason] = s.missing()
	}
	for _, point := range s.points {
		i := int(point.at-last) + s.length - 1
		if i < 0 || i >= s.length {
			continue
		}
		p.Admitted[i], p.Waiting[i], p.Wait[i] = point.admitted, point.waiting, point.wait
		for _, reason := range reasons {
			p.Rejected[reason][i] = point.rejectedFor(reason)
		}
	}
	return p
}

func (s *series) missing() numbers {
	n := make(numbers, s.length)
	for i := range n {
		n[i] = math.NaN()
	}
	return n
}

// MarshalJSON writes the numbers.
func (n numbers) MarshalJSON() ([]byte, error) {
	text := make([]byte, 0, 6*len(n)+2)
	text = append(text, '[')
	for i, v := range n {
		if i > 0 {
			text = append(text, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			text = append(text, "null"...)
		} else {
			text = strconv.AppendFloat(text, v, 'g', 4, 64)
		}
	}
	return append(text, ']'), nil
}
