package soak

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

var (
	soakFor  = flag.Duration("soak.for", 5*time.Second, "how long the soak test lasts")
	soakSeed = flag.Uint64("soak.seed", 0, "where the soak test's choices begin, 0 for a random place")
)

var (
	soakFaultNames = slices.Sorted(maps.Keys(soakFaults))
	habitNames     = slices.Sorted(maps.Keys(habits))
)

// crowdSize is how many clients there are at once.
const crowdSize = 100

// A mixed load with faults on both sides, and reloads in between, leaves Caddy as
// it was. No answer has a wrong byte or looks whole when it is cut, nothing hangs, no
// upstream gets more than its limit, and nothing leaks: of two equal halves the second
// must leave no more than the first.
func TestSoak(t *testing.T) {
	length, seed := *soakFor, *soakSeed
	if testkit.Race {
		length *= 2 // it does half as much in that time
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	stage, tally := newSoakStage(t), new(soakTally)
	reloads := &soakReloads{stage: stage}
	var levels []level
	for round, share := range []time.Duration{length / 5, 2 * length / 5, 2 * length / 5} { // the first one fills caches
		stage.round(tally, reloads, seed+uint64(round), share)
		levels = append(levels, stage.rest(t))
	}
	end := stage.backAt(t, levels[0], levels[1])
	t.Attr("soak", fmt.Sprintf("%s with seed %d: %s; %d reloads; wrong answers: %d; after warming up %s; after one half %s; in the end %s",
		length, seed, tally, reloads.count.Load(), len(tally.wrong), levels[0], levels[1], end))
	for _, wrong := range append(tally.wrong, stage.upstream.failures()...) {
		t.Error(wrong)
	}
	// A machine that is busy with others lets good clients run into the short
	// timeouts now and then.
	if few := 2 + tally.total/1000; len(tally.lost) > few {
		for _, q := range tally.lost {
			t.Errorf("%+v was lost: %v: %s", q, q.err, stage.Logged(q.seed.String()))
		}
	}
	for _, p := range stage.upstream.pools {
		if most := p.most.Load(); most == 0 && p.name != "refused" {
			t.Errorf("pool %s was never used", p.name)
		}
	}
	if missing := tally.missing("faults", soakFaultNames); length > time.Minute && len(missing) > 0 {
		t.Errorf("faults that never happened: %q", missing)
	}
}

// backAt waits until the level is not above those earlier ones, because some resources are
// released late.
func (s *soakStage) backAt(t *testing.T, earlier ...level) level {
	t.Helper()
	var now level
	if !testkit.Poll(30*time.Second, func() bool {
		now = s.level(t)
		return !slices.ContainsFunc(earlier, func(before level) bool { return !now.within(before) })
	}) {
		t.Errorf("there are %s, and before there were %v", now, earlier)
	}
	return now
}

// round is one stretch of load.
func (s *soakStage) round(tally *soakTally, reloads *soakReloads, seed uint64, length time.Duration) {
	clients, pausing := s.soakClients(), s.soakClients()
	over := time.Now().Add(length)
	var crowd sync.WaitGroup
	for i := range uint64(crowdSize) {
		c := &soakClient{
			soakTally: tally, reloads: reloads, rnd: rand.New(rand.NewPCG(seed, i)),
			clients: clients, pausing: pausing, addr: s.Addr, clear: s.Clear,
		}
		crowd.Go(func() {
			for time.Now().Before(over) {
				c.play()
			}
		})
	}
	crowd.Go(func() { reloads.run(tally, over) })
	crowd.Wait()
	for version := range clients {
		clients[version].CloseIdleConnections() // all are, now
		pausing[version].CloseIdleConnections()
	}
}

// soakClients are one for each version of HTTP.
func (s *soakStage) soakClients() map[string]*http.Client {
	clients := s.Clients()
	for _, version := range []string{"h1", "h2"} { // not at the moment in which Caddy closes them
		clients[version].Transport.(*http.Transport).IdleConnTimeout = idleTimeout / 2
	}
	h3 := clients["h3"].Transport.(*http3.Transport)
	h3.QUICConfig = &quic.Config{MaxIdleTimeout: 5 * time.Second}
	h3.Dial = func(ctx context.Context, addr string, security *tls.Config, config *quic.Config) (*quic.Conn, error) {
		// Many wait for a connection. It must not fail if the first of them leaves.
		return quic.DialAddrEarly(context.WithoutCancel(ctx), addr, security, config)
	}
	return clients
}

// play sends one request by one habit.
func (c *soakClient) play() {
	q, habit := c.next(), habitNames[c.rnd.IntN(len(habitNames))]
	if c.rnd.IntN(2) == 0 {
		habit = patient // most clients behave
	}
	q.habit = habit
	began := time.Now()
	became := habits[habit](c, q)
	if q.fault == "none" && habit == patient && became == "cut" {
		if became = "cut by a reload"; !c.reloads.since(began.Add(-reloadLasts)) {
			became = "lost"
			c.lose(q)
		}
	}
	c.add(map[string]string{"faults": q.fault, "clients": habit, "became": became})
}

// reloadLasts is how long the requests of a configuration may go on after it has
// been replaced, with some time to spare: it has a grace period of a second.
const reloadLasts = 3 * time.Second

// soakReloads changes a pool under the load, and does so with configurations that
// fail while they are loaded and while they start, too.
type soakReloads struct {
	stage *soakStage
	count atomic.Int64
	last  atomic.Int64 // Unix time of the last one in nanoseconds
}

func (r *soakReloads) since(t time.Time) bool { return r.last.Load() > t.UnixNano() }

func (r *soakReloads) run(tally *soakTally, over time.Time) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tally.fail("%v", err)
		return
	}
	defer taken.Close()
	for time.Now().Before(over) {
		n := r.count.Add(1)
		config := r.stage.Config(r.stage.body(2 + int(n)%5))
		broken := bytes.Replace(config, []byte(`"handler":"static_response"`), []byte(`"handler":"missing"`), 1)
		if n%2 == 0 {
			broken = bytes.ReplaceAll(config, []byte(r.stage.Clear), []byte(taken.Addr().String()))
		}
		if err := r.stage.TryLoad(broken); err == nil {
			tally.fail("a broken configuration has loaded")
		}
		r.last.Store(time.Now().UnixNano())
		if err := r.stage.TryLoad(config); err != nil {
			tally.fail("reload: %v", err)
		}
		r.last.Store(time.Now().UnixNano())
		testkit.Pause(min(5*time.Second, max(time.Until(over), 0)))
	}
}
