package predict

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// servedAtTurn is the share of the rejected obedient clients that must be served when they
// return at the time of their Retry-After.
const servedAtTurn = 0.9

// crowd are clients that return until they are served: the obedient ones at the time of
// their Retry-After, the hasty ones at a fixed interval.
type crowd struct {
	name     string
	settings offloader.Settings
	run      time.Duration
	during   time.Duration // new clients come
	obedient float64       // new ones a second
	hasty    float64       // new ones a second
	every    time.Duration // a hasty one comes back
}

func crowds() []crowd {
	many, few := settings(8, 64, 500*ms), settings(2, 4, s)
	return []crowd{
		{name: "160/s, 64 places, 480 come", settings: many, run: 50 * ms, during: 5 * s, obedient: 480},
		{name: "40/s, 100 places, 120 come", settings: settings(8, 100, 10*s), run: 200 * ms, during: 10 * s, obedient: 120},
		{name: "160/s, 64 places, 32 and 160 hasty (100ms) come", settings: many, run: 50 * ms, during: 20 * s, obedient: 32, hasty: 160, every: 100 * ms},
		{name: "20/s, 4 places, 20 and 40 hasty (50ms) come", settings: few, run: 100 * ms, during: 10 * s, obedient: 20, hasty: 40, every: 50 * ms},
		{name: "20/s, 4 places, 5 and 55 hasty (10ms) come", settings: few, run: 100 * ms, during: 20 * s, obedient: 5, hasty: 55, every: 10 * ms},
		{name: "4/s, 10 places, 2 and 10 hasty (20ms) come", settings: settings(1, 10, 2*s), run: 250 * ms, during: 20 * s, obedient: 2, hasty: 10, every: 20 * ms},
	}
}

// At three times the work that can be done, nearly all obedient clients are served on
// their second try.
func TestTurns(t *testing.T) {
	var text strings.Builder
	text.WriteString("Clients that come back, at 3x the work that can be done. second: of the obedient clients that were\n" +
		"refused, those served on their second try. tries: of a client, on average. advice: Retry-After, in seconds.\n\n")
	fmt.Fprintf(&text, "%-50s %9s %8s %8s %6s %7s %7s %11s %11s\n",
		"crowd", "obedient", "refused", "second %", "tries", "hasty", "tries", "advice p50", "advice max")
	for _, c := range crowds() {
		o := c.play(t)
		fmt.Fprintf(&text, "%-50s %9d %8d %8.1f %6.2f %7d %7.1f %11.0f %11.0f\n", c.name, o.patient.served, o.refused(), 100*o.second(), o.patient.each(),
			o.hasty.served, o.hasty.each(), stat.Quantile(o.advice, 0.5), stat.Quantile(o.advice, 1))
		if o.second() < servedAtTurn {
			t.Errorf("%s: %.1f %% of the obedient served on their second try", c.name, 100*o.second())
		}
	}
	publish(t, text.String())
}

// outcome holds the results of a crowd.
type outcome struct {
	mu             sync.Mutex // guards the rest
	patient, hasty tally
	advice         []float64 // that the obedient got, in seconds
}

type tally struct{ served, first, second, tries int }

func (y *tally) add(tries int) {
	y.served++
	y.tries += tries
	switch tries {
	case 1:
		y.first++
	case 2:
		y.second++
	}
}

func (y *tally) each() float64 { return float64(y.tries) / float64(max(y.served, 1)) }

func (o *outcome) refused() int { return o.patient.served - o.patient.first }

func (o *outcome) second() float64 { return float64(o.patient.second) / float64(max(o.refused(), 1)) }

// guest is one of a crowd, with a separate address and a new connection for each try.
type guest struct{ known offloader.Client }

var guests atomic.Uint64

func newGuest() *guest {
	g := new(guest)
	binary.BigEndian.PutUint64(g.known.Address[:], guests.Add(1))
	return g
}

// Client implements offloader.Caller.
func (g *guest) Client() offloader.Client { return g.known }

func (c *crowd) play(t *testing.T) *outcome {
	o := new(outcome)
	synctest.Test(t, func(t *testing.T) {
		pool, err := offloader.New("crowd", c.settings)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		come := func(perSecond float64, obeys bool) {
			if perSecond == 0 {
				return
			}
			gap := time.Duration(float64(time.Second) / perSecond)
			for began := time.Now(); time.Since(began) < c.during; <-time.After(gap) {
				all.Go(func() { c.visit(t, pool, obeys, o) })
			}
		}
		all.Go(func() { come(c.hasty, false) })
		come(c.obedient, true)
		all.Wait()
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// visit is one client, from its first try until it is served.
func (c *crowd) visit(t *testing.T, pool *offloader.Pool, obeys bool, o *outcome) {
	who := newGuest()
	for try := 1; ; try++ {
		who.known.Connection = uint16(try)
		ticket := offloader.Ticket{Pool: pool, Caller: who}
		permit, err := ticket.Acquire(context.Background())
		if err == nil {
			<-time.After(c.run)
			permit.Release(offloader.Success)
			o.serve(obeys, try)
			return
		}
		rejected, ok := errors.AsType[*offloader.RejectedError](err)
		if !ok {
			t.Error(err)
			return
		}
		wait := time.Duration(ticket.NextRetry(rejected.Reason).Seconds) * time.Second
		if !obeys {
			<-time.After(c.every)
			continue
		}
		o.advise(wait)
		<-time.After(wait)
	}
}

func (o *outcome) serve(obeys bool, tries int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if obeys {
		o.patient.add(tries)
	} else {
		o.hasty.add(tries)
	}
}

func (o *outcome) advise(wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advice = append(o.advice, wait.Seconds())
}
