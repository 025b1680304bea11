package statuspage

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobpage"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

// Numbers with the title "lately" are about the last two minutes. They are computed from
// marks that are ten seconds apart.
const (
	markEvery = 10 * time.Second
	marks     = 12
)

// rejectingFor is how long a pool counts as rejecting after a rejection.
const rejectingFor = 5 * time.Second

// memory has the past of the page: histories, and the totals that the next status is
// compared with.
type memory struct {
	before *admin.Status
	pools  map[string]*track
	all    histories
}

// track is the past of one pool.
type track struct {
	histories
	totals   totals
	marks    []mark // the oldest first
	rejected time.Time
}

type histories struct{ fine, coarse series }

func newHistories() histories {
	return histories{series{step: fineStep, length: fineLength}, series{step: coarseStep, length: coarseLength}}
}

func (h *histories) add(at time.Time, p point) {
	h.fine.add(at, p)
	h.coarse.add(at, p)
}

// totals are the counters of a pool at one moment.
type totals struct {
	admitted uint64
	rejected map[string]uint64
	waits    pools.Distribution
}

// mark has the distributions of a pool at one moment.
type mark struct {
	at          time.Time
	waits, runs pools.Distribution
}

// moment is a status with its changes since the last one.
type moment struct {
	*admin.Status
	rates map[string]rates // by pool
	jobs  map[jobpage.View]jobpage.Page
	all   point
}

// rates are what a pool does now.
type rates struct {
	point
	known       bool // there was a status to compare with
	rejecting   bool
	waits, runs pools.Distribution // lately
}

func newMemory() *memory { return &memory{pools: make(map[string]*track), all: newHistories()} }

// note adds a status to the past, and returns it with its changes.
func (m *memory) note(s *admin.Status) *moment {
	var took float64
	if m.before != nil {
		took = s.At.Sub(m.before.At).Seconds()
	}
	m.before = s
	now := &moment{Status: s, rates: make(map[string]rates, len(s.Pools)), all: point{wait: math.NaN()}}
	living := make(map[string]*track, len(s.Pools))
	for i := range s.Pools {
		p := &s.Pools[i]
		t, known := m.pools[p.Pool.Name]
		if !known || t.ofAnother(p) {
			t, known = &track{histories: newHistories()}, false
		}
		living[p.Pool.Name] = t
		r := t.note(s.At, p, known && took > 0, took)
		now.rates[p.Pool.Name] = r
		now.all.join(r.point)
	}
	m.pools = living // the past of a removed pool goes with it
	if took > 0 {
		m.all.add(s.At, now.all)
	}
	return now
}

// ofAnother reports whether the track belongs to an earlier pool of the same name: some
// totals have become smaller, and totals of one pool only grow.
func (t *track) ofAnother(p *admin.PoolStatus) bool {
	return p.Pool.Admitted < t.totals.admitted || figures.Sum(p.Pool.Rejected) < figures.Sum(t.totals.rejected)
}

// note adds the numbers of a pool to its past. took is the time since the last ones, in
// seconds.
func (t *track) note(at time.Time, p *admin.PoolStatus, known bool, took float64) rates {
	r := rates{known: known, point: point{waiting: float64(p.Pool.Waiting), wait: math.NaN()}}
	if known {
		r.admitted = float64(p.Pool.Admitted-t.totals.admitted) / took
		r.point.rejected = rejections(t.totals.rejected, p.Pool.Rejected, took)
		if q, ok := p.Waits.Since(t.totals.waits).Quantile(.95); ok {
			r.wait = q
		}
		t.add(at, r.point)
	}
	t.totals = totals{p.Pool.Admitted, p.Pool.Rejected, p.Waits}
	if len(r.point.rejected) > 0 {
		t.rejected = at
	}
	r.rejecting = !t.rejected.IsZero() && at.Sub(t.rejected) < rejectingFor
	if n := len(t.marks); n == 0 || at.Sub(t.marks[n-1].at) >= markEvery {
		t.marks = append(t.marks, mark{at, p.Waits, p.Runs})
	}
	for at.Sub(t.marks[0].at) > marks*markEvery {
		if t.marks = t.marks[1:]; len(t.marks) == 0 {
			t.marks = []mark{{at, p.Waits, p.Runs}}
		}
	}
	r.waits, r.runs = p.Waits.Since(t.marks[0].waits), p.Runs.Since(t.marks[0].runs)
	return r
}

func rejections(was, now map[string]uint64, took float64) []reasonRate {
	var all []reasonRate
	for reason, n := range now {
		if n > was[reason] {
			all = append(all, reasonRate{reason, float64(n-was[reason]) / took})
		}
	}
	slices.SortFunc(all, func(a, b reasonRate) int { return cmp.Compare(a.reason, b.reason) })
	return all
}

// join adds the numbers of another pool. Waits are not added: the longest counts.
func (p *point) join(other point) {
	p.admitted += other.admitted
	p.waiting += other.waiting
	p.wait = larger(p.wait, other.wait)
	for _, r := range other.rejected {
		if i := slices.IndexFunc(p.rejected, func(mine reasonRate) bool { return mine.reason == r.reason }); i >= 0 {
			p.rejected[i].rate += r.rate
		} else {
			p.rejected = append(p.rejected, r)
		}
	}
}

// rejectedRate is the sum for all reasons.
func (p point) rejectedRate() (sum float64) {
	for _, r := range p.rejected {
		sum += r.rate
	}
	return sum
}
