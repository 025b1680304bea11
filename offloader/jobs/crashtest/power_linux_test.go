//go:build integration

package crashtest

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

var rounds = flag.Int("power.rounds", 10, "how often TestPowerCutsLoseNothing cuts the power")

// A machine whose power is cut at random moments loses no job that it has accepted, runs none
// again that may not be, and leaves a database without damage.
func TestPowerCutsLoseNothing(t *testing.T) {
	v := newImage(t, 256<<20)
	s := newStage(t, filepath.Join(v.mounted, "store"))
	s.rejects = true // after the cut
	for n := range *rounds {
		p := s.start(order{Endless: true})
		if n%5 != 4 { // the power of the others is cut while they start
			testkit.Receive(t, p.ready)
		}
		longest := 400 * time.Millisecond
		if n%5 == 3 { // long enough for what the engine does after many transactions
			longest = 4 * time.Second
		}
		testkit.Pause(rand.N(longest))
		v.scatter(s.folder)
		v.cut()
		testkit.Pause(rand.N(20 * time.Millisecond))
		p.end()
		v.unmount()
		v.mount()
		intact(t, s.folder)
		s.again(20)
	}
	s.drain()
	r := s.check()
	t.Logf("%d power cuts: %d accepted, %d stored; %d run again, at most %d after a cut; %d may not be run again, %d poisoned",
		*rounds, r.accepted, r.stored, r.again, r.most, r.unknown, r.poisoned)
	if r.accepted == 0 || r.again == 0 {
		t.Error("no cut was at a moment that matters")
	}
}

// intact fails the test if a store is damaged.
func intact(t *testing.T, folder string) {
	t.Helper()
	report, err := bolt.Check(folder)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("the store is damaged: %+v, %v", report, err)
	}
}
