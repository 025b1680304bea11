// Package hall lets clients use a gate, for example a pool, in virtual time and measures the
// permit-time that each of them gets.
package hall

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Party is one client of a gate, or a group of clients with the same key or class.
type Party struct {
	Claim offloader.Claim
	Run   time.Duration // give or take a fifth

	// The load: either Connections with one request at a time each, or PerSecond requests
	// at random times, each with a new key if Fresh.
	Connections int
	PerSecond   float64
	Fresh       bool

	From, To time.Duration // since the beginning
}

// Gate decides which requests run, and when.
type Gate interface {
	// Do calls run once the gate admits the request. It returns after run, or without a call
	// of run if the gate rejects the request or ctx ends. It reports whether it called run.
	Do(ctx context.Context, claim offloader.Claim, run func()) bool
	// Close ends the gate after its last call of Do.
	Close()
}

// again is the pause of a connection after a rejection.
const again = 200 * time.Millisecond

// hall is a gate with its parties, in virtual time.
type hall struct {
	gate  Gate
	began time.Time
	rnd   *rand.Rand

	mu    sync.Mutex // guards rnd and the rest
	used  []Usage
	fresh int
}

// Gather lets the parties use a gate, closes it, and returns the usage of each party. It
// must be called in a bubble of testing/synctest, in which the gate was made too.
func Gather(gate Gate, parties []Party, seed uint64) []Usage {
	h := &hall{gate: gate, began: time.Now(), rnd: rand.New(rand.NewPCG(seed, 9)), used: make([]Usage, len(parties))}
	var all sync.WaitGroup
	for i, p := range parties {
		for range p.Connections {
			all.Go(func() { h.connection(i, p) })
		}
		if p.PerSecond > 0 {
			all.Go(func() { h.stream(i, p, &all) })
		}
	}
	all.Wait()
	gate.Close()
	return h.used
}

func (h *hall) now() time.Duration { return time.Since(h.began) }

func (h *hall) draw(draw func(*rand.Rand) float64) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return draw(h.rnd)
}

func (h *hall) connection(i int, p Party) {
	<-time.After(p.From + time.Duration(h.draw((*rand.Rand).Float64)*float64(time.Millisecond)))
	for h.now() < p.To {
		if !h.visit(i, p, p.Claim) {
			<-time.After(again)
		}
	}
}

func (h *hall) stream(i int, p Party, all *sync.WaitGroup) {
	<-time.After(p.From)
	for h.now() < p.To {
		claim := p.Claim
		if p.Fresh {
			h.fresh++
			claim.Key = fmt.Sprintf("made up %d", h.fresh)
		}
		all.Go(func() { h.visit(i, p, claim) })
		<-time.After(time.Duration(h.draw((*rand.Rand).ExpFloat64) / p.PerSecond * float64(time.Second)))
	}
}

// visit is one request. It reports whether it was served.
func (h *hall) visit(i int, p Party, claim offloader.Claim) bool {
	ctx, cancel := context.WithTimeout(context.Background(), p.To+time.Minute-h.now())
	defer cancel()
	came := h.now()
	var run span
	served := h.gate.Do(ctx, claim, func() {
		run.from = h.now()
		<-time.After(time.Duration((0.8 + 0.4*h.draw((*rand.Rand).Float64)) * float64(p.Run)))
		run.to = h.now()
	})
	if !served {
		run.from = h.now()
	}
	h.note(i, run.from-came, run)
	return served
}

func (h *hall) note(i int, waited time.Duration, run span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &h.used[i]
	u.Waits = append(u.Waits, waited.Seconds())
	if run.to > 0 {
		u.runs = append(u.runs, run)
	}
}
