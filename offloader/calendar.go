package offloader

import "time"

const (
	// quarter is the unit of the calendar. Advice is in whole seconds, so callers come
	// back at the quarter of a second in which they were rejected.
	quarter       = time.Second / 4
	perSecond     = int64(time.Second / quarter)
	quartersAhead = 256 // a bit more than maxRetry
)

// calendar counts the callers that are advised to come back in each quarter of a
// second, so that no more come at once than there is room for. The zero value is empty.
type calendar struct {
	booked [quartersAhead]uint16 // a ring
	today  int64                 // the first quarter
}

// capacity is the number of callers that a pool can take.
type capacity struct {
	atOnce   int // in one quarter
	inSecond int // in any second
}

// book finds the first time from wait on, in whole seconds, with room for one more, and
// books it. It returns wait if there is no such time.
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

// has reports whether there is room at that number of seconds ahead.
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
