package caddymodule

import (
	"sync/atomic"
	"time"
)

// requestPhase is how far a request has come.
type requestPhase uint8

const (
	// phaseUploading: its body is taken in.
	phaseUploading requestPhase = iota + 1
	// phaseWaiting: it waits for a permit, or is about to.
	phaseWaiting
	// phaseRunning: it holds a permit.
	phaseRunning
	// phaseStreaming: its run has ended, and the client gets the rest.
	phaseStreaming
	// phaseUpgraded: it has left the pool, and its connection goes on.
	phaseUpgraded

	requestPhaseCount
)

var requestPhaseNames = [requestPhaseCount]string{"", "uploading", "waiting", "running", "streaming", "upgraded"}

// String returns the phase's word.
func (p requestPhase) String() string { return requestPhaseNames[p] }

// MarshalText writes the phase's word.
func (p requestPhase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// progress is how far a request has come, for those who look at it from other
// goroutines. Phase and time are one word, so that they fit to each other and
// cost no lock.
type progress struct{ packed atomic.Uint64 }

// processBegan is where times of progress count from.
var processBegan = time.Now()

// phaseBits is the room for a phase; the rest holds the nanoseconds of 73 years.
const phaseBits = 3

// enter notes that a phase has begun at that time.
func (p *progress) enter(phase requestPhase, at time.Time) {
	p.packed.Store(uint64(at.Sub(processBegan))<<phaseBits | uint64(phase))
}

// now returns the phase, and since when it goes on.
func (p *progress) now() (requestPhase, time.Time) {
	packed := p.packed.Load()
	return requestPhase(packed & (1<<phaseBits - 1)), processBegan.Add(time.Duration(packed >> phaseBits))
}

func (p *progress) phase() requestPhase {
	phase, _ := p.now()
	return phase
}
