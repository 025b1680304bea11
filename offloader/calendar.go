package offloader

import "time"

const (
	// quarter is the unit of the calendar. A client that waits for whole seconds comes back
	// in the same quarter of a second in which it was rejected.
	quarter       = time.Second / 4
	perSecond     = int64(time.Second / quarter)
	quartersAhead = 256 // a bit more than maxRetry
)

// calendar counts, for each coming quarter of a second, the rejected callers that will come
// back then because Retry-After sends them, which has whole seconds only. With it the pool
// sends no more callers to one quarter than it has room for. The zero value is empty.
type calendar struct {
	booked [quartersAhead]uint16 // a ring
	today  int64                 // the first quarter
}

// capacity is the number of callers that a pool can take.
type capacity struct {
	atOnce   int // in one quarter
	inSecond int // in any second
}

// book returns the first whole number of seconds, wait or more, after which the pool has
// room for one more caller, and books that caller. It returns wait if there is no room.
func (c *calendar) book(now moment, wait time.Duration, r capacity) time.Duration {
	c.advance(int64(now) / int64(quarter))
	best := int64(wait / time.Second)
	for later := best; later <= int64(maxRetry/time.Second); later++ {
		if c.has(later, r) {
			best = later
			break
		}
	}
	if n := c.at(best * perSecond); *n < 1<<16-1 {
		*n++
	}
	return time.Duration(best) * time.Second
}

// advance drops past quarters.
func (c *calendar) advance(to int64) {
	for n := 0; c.today < to && n < quartersAhead; n++ {
		*c.at(0) = 0
		c.today++
	}
	c.today = to
}

func (c *calendar) at(ahead int64) *uint16 { return &c.booked[(c.today+ahead)%quartersAhead] }

// has reports whether there is room for one more caller that many seconds from now.
func (c *calendar) has(seconds int64, r capacity) bool {
	at := seconds * perSecond
	if int(*c.at(at)) >= r.atOnce {
		return false
	}
	for first := at - perSecond + 1; first <= at; first++ {
		sum := 0
		for d := range perSecond {
			sum += int(*c.at(first + d))
		}
		if sum >= r.inSecond {
			return false
		}
	}
	return true
}
