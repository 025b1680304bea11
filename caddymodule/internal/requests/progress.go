package requests

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Phase is how far a request has come.
type Phase uint8

const (
	// PhaseUploading: its body is taken in.
	PhaseUploading Phase = iota + 1
	// PhaseWaiting: it waits for a permit, or is about to.
	PhaseWaiting
	// PhaseRunning: it holds a permit.
	PhaseRunning
	// PhaseStreaming: its run has ended, and the client still receives the response.
	PhaseStreaming
	// PhaseUpgraded: its connection was upgraded, and goes on without a permit.
	PhaseUpgraded

	phaseCount
)

var phaseNames = [phaseCount]string{"", "uploading", "waiting", "running", "streaming", "upgraded"}

// String returns the phase's word.
func (p Phase) String() string { return phaseNames[p] }

// MarshalText writes the phase's word.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phaseNames[:], string(text))
	if i <= 0 {
		return fmt.Errorf("unknown phase '%s'", text)
	}
	*p = Phase(i)
	return nil
}

// Progress is the phase of a request, for readers on other goroutines. Phase and time share
// one atomic word, so that they are consistent without a lock.
type Progress struct{ packed atomic.Uint64 }

// processBegan is where times of progress count from.
var processBegan = time.Now()

// phaseBits is the number of bits for a phase. The other bits hold nanoseconds, up to 73
// years.
const phaseBits = 3

// Enter records that a phase has begun at that time.
func (p *Progress) Enter(phase Phase, at time.Time) {
	p.packed.Store(uint64(at.Sub(processBegan))<<phaseBits | uint64(phase))
}

// Now returns the phase, and since when it goes on.
func (p *Progress) Now() (Phase, time.Time) {
	packed := p.packed.Load()
	return Phase(packed & (1<<phaseBits - 1)), processBegan.Add(time.Duration(packed >> phaseBits))
}

// Phase returns the phase alone.
func (p *Progress) Phase() Phase {
	phase, _ := p.Now()
	return phase
}
