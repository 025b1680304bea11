package offloader

import "testing"

// After any change callers learn without the mutex whether the gate is full.
func TestFullIsPublished(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5000) {
		r := newRig(t, seed)
		for range 60 {
			r.step()
			if got, want := r.gate.full.Load(), r.gate.isFull(); got != want {
				t.Fatalf("seed %d: full is %v, want %v", seed, got, want)
			}
		}
	}
}
