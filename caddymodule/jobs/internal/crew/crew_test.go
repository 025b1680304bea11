package crew_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/crew"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// each runs n functions at once, and returns when all have returned.
func each(c *crew.Crew, n int) {
	var all sync.WaitGroup
	all.Add(n)
	gate := make(chan struct{})
	for range n {
		c.Go(func() {
			<-gate
			all.Done()
		})
	}
	synctest.Wait()
	close(gate)
	all.Wait()
	synctest.Wait()
}

// goroutines returns how many goroutines crews have. Those of the runtime may begin at any time.
func goroutines() int {
	stacks := make([]byte, 1<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("(*Crew).work("))
}

// Functions that follow each other use the goroutines that are there. Those that none of
// them needs end, the others stay.
func TestGoroutinesAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew.Crew
		count := func(when string, want int) {
			t.Helper()
			if n := goroutines(); n != want {
				t.Errorf("%s: %d goroutines, want %d", when, n, want)
			}
		}
		each(&c, 10)
		each(&c, 10)
		count("after the first functions", 10)
		for range 10 {
			<-time.After(500 * time.Millisecond)
			each(&c, 3)
		}
		count("when three are enough", 3)
		<-time.After(2 * time.Second)
		synctest.Wait()
		count("when none is needed", 0)
		each(&c, 2)
		count("after the next ones", 2)
		<-time.After(2 * time.Second)
	})
}

// A function that ends its goroutine takes it away from no other.
func TestAFunctionThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew.Crew
		for range 3 {
			c.Go(runtime.Goexit)
		}
		synctest.Wait()
		each(&c, 2)
		<-time.After(2 * time.Second)
	})
}
