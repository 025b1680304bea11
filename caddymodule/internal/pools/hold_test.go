package pools

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// holding plays a scene in virtual time, with two pools of one table.
func holding(t *testing.T, name string, scene func(t *testing.T, one, other *Pool)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := NewTable(offloader.NewUpstreams())
			var all []*Pool
			for _, name := range []string{"one", "other"} {
				pool, err := table.Open(name, offloader.Settings{Concurrency: 1})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, pool)
			}
			scene(t, all[0], all[1])
			for _, pool := range all {
				if n := pool.Held(); n != 0 {
					t.Errorf("%d held at the end", n)
				}
				_ = pool.Close(ended)
			}
		})
	})
}

// A hold lasts for its time, and ends at once where no client would come back to the pool.
func TestHoldsEndEarly(t *testing.T) {
	holding(t, "for its time", func(t *testing.T, one, _ *Pool) {
		held, ok := one.Hold(t.Context(), 300*time.Millisecond)
		if held != 300*time.Millisecond || !ok {
			t.Errorf("held for %s: %v", held, ok)
		}
	})
	for name, end := range map[string]func(leave func(), one *Pool){
		"when the client leaves":  func(leave func(), _ *Pool) { leave() },
		"when the pool drains":    func(_ func(), one *Pool) { _ = one.Drain(ended) },
		"when the process exits":  func(_ func(), one *Pool) { exitWith(one) },
		"also when it has before": func(_ func(), one *Pool) { _ = one.Drain(ended); _ = one.Drain(ended) },
	} {
		holding(t, name, func(t *testing.T, one, other *Pool) {
			client, leave := context.WithCancel(t.Context())
			defer leave()
			var all sync.WaitGroup
			all.Go(func() {
				if held, ok := one.Hold(client, time.Second); held != 100*time.Millisecond || !ok {
					t.Errorf("held for %s: %v", held, ok)
				}
			})
			all.Go(func() {
				if held, _ := other.Hold(t.Context(), time.Second); held != time.Second {
					t.Errorf("the hold of another pool lasted %s", held)
				}
			})
			<-time.After(100 * time.Millisecond)
			if one.Held() != 1 || other.Held() != 1 {
				t.Errorf("%d and %d held", one.Held(), other.Held())
			}
			end(leave, one)
			all.Wait()
		})
	}
}

// exitWith begins the exit of a process with that pool.
func exitWith(p *Pool) {
	table := NewTable(offloader.NewUpstreams())
	_, _ = table.Named.LoadOrStore(p.Name(), p)
	NewExit().Begin(table)
}

// All pools together hold a bounded number of rejections.
func TestHoldsAreBounded(t *testing.T) {
	holding(t, "256 in the process", func(t *testing.T, one, other *Pool) {
		var all sync.WaitGroup
		for n := range maxHeld {
			p := one
			if n%2 == 0 {
				p = other
			}
			all.Go(func() { p.Hold(t.Context(), time.Second) })
		}
		synctest.Wait()
		if held, ok := one.Hold(t.Context(), time.Second); held != 0 || ok {
			t.Errorf("one more was held for %s", held)
		}
		all.Wait()
		if _, ok := one.Hold(t.Context(), time.Second); !ok {
			t.Error("none is held afterwards")
		}
	})
}
