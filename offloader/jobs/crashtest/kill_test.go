package crashtest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// A process that is killed at random moments, again and again, loses no job that it has
// accepted, and runs none again that may not be.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	for n := range *kills {
		p := s.start(order{Endless: true})
		if n%5 != 4 { // the others are killed while they start
			testkit.Receive(t, p.ready)
		}
		testkit.Pause(rand.N(400 * time.Millisecond))
		p.kill()
		s.again(20)
	}
	s.drain()
	r := s.check()
	t.Logf("%d kills: %d accepted, %d stored; %d run again, at most %d after a kill; %d may not be run again, %d poisoned",
		*kills, r.accepted, r.stored, r.again, r.most, r.unknown, r.poisoned)
	if r.stored == 0 || r.again == 0 {
		t.Error("no kill was at a moment that matters")
	}
}

// A process that stops waits for the attempts that run, so that the next one runs none of them
// again.
func TestStoppedProcessesRunNothingAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	s.rejects = true // while the process stops
	for range 5 {
		p := s.start(order{Endless: true})
		testkit.Receive(t, p.ready)
		testkit.Pause(rand.N(300 * time.Millisecond))
		p.stop()
		s.again(20)
	}
	s.drain()
	if r := s.check(); r.stored == 0 || r.again > 0 || r.unknown > 0 {
		t.Errorf("of %d jobs %d were run again, and %d may not be", r.stored, r.again, r.unknown)
	}
}

// A job whose attempts end the process is dead after three of them. Its neighbours are run,
// although they run at the same time.
func TestPoisonIsDeadAfterThreeCrashes(t *testing.T) {
	t.Parallel()
	const poison, neighbours = 7, 30
	s := newStage(t, t.TempDir())
	for key := 1; key <= neighbours; key++ {
		s.keys = append(s.keys, key)
	}
	for !s.start(order{Poison: poison}).wait() {
		if s.boots > 5 {
			t.Fatal("the process is killed again and again")
		}
	}
	if s.boots != 4 {
		t.Errorf("%d processes were killed, want 3", s.boots-1)
	}
	engine, err := openEngine(s.folder, s.sealed)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.records(engine) {
		if dead := r.State == jobs.Dead; dead != (keyOf(r) == poison) {
			t.Errorf("key %d: %+v", keyOf(r), r)
		}
	}
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	if r := s.check(); r.stored != neighbours || r.poisoned != 1 {
		t.Errorf("%d jobs are stored, %d are poisoned, want %d and 1", r.stored, r.poisoned, neighbours)
	}
}
