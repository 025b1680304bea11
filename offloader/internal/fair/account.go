package fair

import "time"

const (
	// firstCharge is the charge for a run before any has ended.
	firstCharge = 100 * time.Millisecond
	// debtFor bounds a debt from below: a key or class may always be ahead of its fair
	// share by what that share is in this time.
	debtFor = time.Second
	// unit is one step of virtual time. With it, the permit-time of a thousand permits fits
	// into an int64 for centuries.
	unit = int64(time.Microsecond)
)

// account is the use of permits by a key or a class, in virtual time: units of permit-time,
// divided by its weight. Moments and durations are in nanoseconds.
//
// The sums over permits may overflow; their differences are correct nevertheless.
type account struct {
	weight  int64
	start   int64 // what its grants were charged with, and what ended runs have added to that
	held    int64 // permits
	since   int64 // the sum, over the permits held, of the moments of their grants
	charged int64 // for the runs that go on
}

// at returns the account's virtual time: start, plus the time by which its runs exceed what
// they were charged for. It never decreases.
func (a *account) at(now int64) int64 {
	return a.start + a.scale(max(0, a.held*now-a.since-a.charged))
}

// join ends an idle time of the account. The account starts at the virtual time of the
// others, so that an idle time gives no advantage.
func (a *account) join(virtual int64) { a.start = max(a.start, virtual) }

// grant charges the account for a run.
func (a *account) grant(s *Seat) {
	a.hold(s)
	a.start += max(a.scale(s.charge), 1)
}

// hold counts the permits of a run for the account.
func (a *account) hold(s *Seat) {
	cost := int64(s.Cost)
	a.held += cost
	a.since += cost * s.granted
	a.charged += s.charge
}

// end corrects the charge of a run that has ended by its real length. After that the
// account is at most bound ahead of the others, and at most bound behind.
func (a *account) end(s *Seat, now, virtual, bound int64) {
	cost := int64(s.Cost)
	a.held -= cost
	a.since -= cost * s.granted
	a.charged -= s.charge
	a.start += a.scale(cost*(now-s.granted) - s.charge)
	bound = a.scale(bound)
	a.start = min(max(a.start, virtual-bound), virtual+bound)
}

func (a *account) scale(permitTime int64) int64 { return permitTime / unit / a.weight }

// debt returns how far an account may be ahead of the others or behind them after a run of
// s, in permit-time: the run's own, or the account's fair share of the permits in that time
// if that is more. weights is the sum of the weights of all accounts.
func debt(s *Seat, now, weight, weights, permits int64) int64 {
	run := now - s.granted
	share := max(run, int64(debtFor)) / max(weights, 1) * weight * permits
	return max(run*int64(s.Cost), share)
}

// estimate follows the length of runs.
type estimate int64

// add counts a run, which changes the estimate by one part in parts.
func (e *estimate) add(run, parts int64) {
	if *e == 0 {
		*e = estimate(max(run, 1))
		return
	}
	*e = max(*e+(estimate(run)-*e)/estimate(parts), 1)
}
