package predict

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// obedientServed is how many of the obedient clients that are refused have to be served
// when they come back at their turn.
const obedientServed = 0.9

// crowds are clients that come back.
type crowds struct {
	name     string
	settings offloader.Settings
	run      time.Duration
	during   time.Duration // newcomers come
	obedient float64       // new ones a second
	hasty    float64       // new ones a second that come back every moment
	every    time.Duration // that
	newIP    bool          // each try of a hasty client has a new connection
}

type clientOf struct{ c offloader.Client }

func (c clientOf) Client() offloader.Client { return c.c }

func (x *crowds) rate() float64 {
	return float64(x.settings.Concurrency) / x.run.Seconds()
}

func TestTurns(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "%-56s %8s %8s %8s %8s %9s %9s %9s %9s\n", "crowd", "obedient", "refused", "second %", "tries", "hasty", "tries", "advice p50", "advice max")
	shape := settings(8, 64, 500*ms)
	small := settings(2, 4, time.Second)
	for _, x := range []crowds{
		{name: "3x for 5s, all obedient", settings: shape, run: 50 * ms, during: 5 * s, obedient: 480},
		{name: "3x for 10s, all obedient, default", settings: settings(8, 100, 10*s), run: 200 * ms, during: 10 * s, obedient: 120},
		{name: "3x for 20s, a fifth obedient, others return in 100ms", settings: shape, run: 50 * ms, during: 20 * s, obedient: 32, hasty: 160, every: 100 * ms},
		{name: "3x, few places, half obedient, others return in 50ms", settings: small, run: 100 * ms, during: 10 * s, obedient: 20, hasty: 40, every: 50 * ms},
		{name: "3x, few places, few obedient, others return in 10ms", settings: small, run: 100 * ms, during: 20 * s, obedient: 5, hasty: 55, every: 10 * ms},
		{name: "3x, one permit, no end of impatience", settings: settings(1, 10, 2*s), run: 250 * ms, during: 20 * s, obedient: 2, hasty: 10, every: 20 * ms},
	} {
		x.play(t, &text)
	}
	publish(t, text.String())
}

func (x *crowds) play(t *testing.T, text *strings.Builder) {
	var mu sync.Mutex
	var obedient, refused, second, tries, hasty, hastyTries int
	var advice []float64
	synctest.Test(t, func(t *testing.T) {
		pool, err := offloader.New("crowd", x.settings)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		number := uint32(0)
		visit := func(patient bool) {
			number++
			n := number
			all.Go(func() {
				var c offloader.Client
				c.Address[0], c.Address[1], c.Address[2] = byte(n), byte(n>>8), byte(n>>16)
				came := time.Now()
				for try := 1; ; try++ {
					c.Connection = uint16(try)
					place := offloader.Place{Owner: clientOf{c}}
					permit, err := pool.AcquireAt(context.Background(), &place)
					if err == nil {
						<-time.After(x.run)
						permit.Release(offloader.Success)
						mu.Lock()
						defer mu.Unlock()
						if !patient {
							hasty++
							hastyTries += try
							return
						}
						obedient++
						tries += try
						if try > 1 {
							refused++
						}
						if try == 2 {
							second++
						}
						return
					}
					var rejected *offloader.RejectedError
					if !errors.As(err, &rejected) {
						t.Error(err)
						return
					}
					wait := rejected.RetryAfterFor(&place)
					mu.Lock()
					if patient {
						advice = append(advice, wait.Seconds())
					}
					mu.Unlock()
					if !patient {
						wait = x.every
						if time.Since(came) > time.Minute {
							return
						}
					}
					<-time.After(wait)
				}
			})
		}
		gap := func(perSecond float64) time.Duration { return time.Duration(float64(time.Second) / perSecond) }
		began := time.Now()
		if x.hasty > 0 {
			all.Go(func() {
				for time.Since(began) < x.during {
					mu.Lock()
					visit(false)
					mu.Unlock()
					<-time.After(gap(x.hasty))
				}
			})
		}
		for time.Since(began) < x.during {
			mu.Lock()
			visit(true)
			mu.Unlock()
			<-time.After(gap(x.obedient))
		}
		all.Wait()
		_ = pool.Close(context.Background())
	})
	share := float64(second) / float64(max(refused, 1))
	fmt.Fprintf(text, "%-56s %8d %8d %8.1f %8.2f %9d %9.1f %9.0f %9.0f\n", x.name, obedient, refused, 100*share, float64(tries)/float64(obedient),
		hasty, float64(hastyTries)/float64(max(hasty, 1)), stat.Quantile(advice, 0.5), stat.Quantile(advice, 1))
	if share < obedientServed {
		t.Errorf("%s: %.1f %% of the obedient served on their second try", x.name, 100*share)
	}
}
