package timerlist_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
)

// entry of a list, as its users have it: embedded.
type entry struct {
	timerlist.Timer
	name string
	list *list
	also func(*entry)
}

// list with a log of what expired when.
type list struct {
	t *testing.T
	*timerlist.List
	began time.Time

	mu  sync.Mutex
	log []string
}

func (l *list) enter(name string) *entry { return l.enterWith(name, nil) }

// enterWith enters an entry that does something else when it expires.
func (l *list) enterWith(name string, also func(*entry)) *entry {
	e := &entry{name: name, list: l, also: also}
	l.Start(&e.Timer, e)
	return e
}

func (e *entry) Expired(t *timerlist.Timer) {
	if t != &e.Timer {
		e.list.t.Error("called for another timer")
	}
	e.list.mu.Lock()
	e.list.log = append(e.list.log, fmt.Sprintf("%s at %s", e.name, time.Since(e.list.began)))
	e.list.mu.Unlock()
	if e.also != nil {
		e.also(e)
	}
}

// pass lets time pass.
func (l *list) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// want lets a minute pass and compares what expired.
func (l *list) want(want ...string) {
	l.t.Helper()
	l.pass(time.Minute)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.log, want) {
		l.t.Errorf("expired %q, want %q", l.log, want)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	for name, scene := range map[string]func(t *testing.T, l *list){
		"expire in order of entry, each after the same time": func(_ *testing.T, l *list) {
			l.enter("a")
			l.enter("b")
			l.pass(time.Second)
			l.enter("c")
			l.want("a at 5s", "b at 5s", "c at 6s")
		},
		"that were stopped do not expire": func(t *testing.T, l *list) {
			all := []*entry{l.enter("a"), l.enter("b"), l.enter("c"), l.enter("d"), l.enter("e")}
			for _, i := range []int{0, 2, 4} { // first, in the middle, last
				if !l.Stop(&all[i].Timer) {
					t.Errorf("%s was not in the list", all[i].name)
				}
			}
			l.want("b at 5s", "d at 5s")
		},
		"can be stopped once": func(t *testing.T, l *list) {
			e := l.enter("a")
			if !l.Stop(&e.Timer) || l.Stop(&e.Timer) {
				t.Error("stopped never or twice")
			}
			l.want()
		},
		"that were never started cannot be stopped": func(t *testing.T, l *list) {
			if l.Stop(new(timerlist.Timer)) {
				t.Error("stopped")
			}
		},
		"that have expired cannot be stopped": func(t *testing.T, l *list) {
			e := l.enter("a")
			l.pass(6 * time.Second)
			if l.Stop(&e.Timer) {
				t.Error("stopped")
			}
			l.want("a at 5s")
		},
		"can be started again after they were stopped": func(_ *testing.T, l *list) {
			e := l.enter("a")
			l.enter("b")
			l.pass(time.Second)
			l.Stop(&e.Timer)
			l.Start(&e.Timer, e)
			l.want("b at 5s", "a at 6s")
		},
		"can be started again after they have expired": func(_ *testing.T, l *list) {
			e := l.enter("a")
			l.pass(6 * time.Second)
			l.Start(&e.Timer, e)
			l.want("a at 5s", "a at 11s")
		},
		"can be started again by those whom they call": func(_ *testing.T, l *list) {
			l.enterWith("a", func(e *entry) {
				e.also = nil
				l.Start(&e.Timer, e)
			})
			l.enter("b")
			l.want("a at 5s", "b at 5s", "a at 10s")
		},
		"can be stopped by those whom others call": func(t *testing.T, l *list) {
			b := &entry{name: "b", list: l}
			l.enterWith("a", func(*entry) {
				if !l.Stop(&b.Timer) {
					t.Error("b was not in the list")
				}
				l.enter("c")
			})
			l.Start(&b.Timer, b)
			l.want("a at 5s", "c at 10s")
		},
		"find the list usable after the last was stopped": func(_ *testing.T, l *list) {
			l.Stop(&l.enter("a").Timer)
			l.pass(6 * time.Second) // the timer finds nothing
			l.enter("b")
			l.want("b at 11s")
		},
		"come one after the other on one goroutine": func(t *testing.T, l *list) {
			release := make(chan struct{})
			l.enterWith("a", func(*entry) { <-release })
			l.enter("b")
			l.pass(10 * time.Second)
			l.mu.Lock()
			if len(l.log) != 1 {
				t.Errorf("expired %q while the first is busy", l.log)
			}
			l.mu.Unlock()
			close(release)
			l.want("a at 5s", "b at 10s")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				scene(t, &list{t: t, List: timerlist.New(5 * time.Second), began: time.Now()})
			})
		})
	}
	for _, never := range []time.Duration{0, -1} {
		t.Run(fmt.Sprintf("of %s never expire", never), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &list{t: t, List: timerlist.New(never), began: time.Now()}
				if l.Stop(&l.enter("a").Timer) {
					t.Error("it was in the list")
				}
				l.want()
			})
		})
	}
}

// Each entry expires or is stopped, never both and never neither, whatever many
// threads do at once.
func TestTimersOfManyThreads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &list{t: t, List: timerlist.New(5), began: time.Now()}
		var all sync.WaitGroup
		var mu sync.Mutex
		stopped := 0
		for i := range 2000 {
			all.Go(func() {
				<-time.After(time.Duration(i % 20))
				e := l.enter("")
				<-time.After(time.Duration(3 + i%4)) // before, at or after its end
				if l.Stop(&e.Timer) {
					mu.Lock()
					stopped++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		<-time.After(time.Minute)
		synctest.Wait()
		if len(l.log)+stopped != 2000 || stopped < 1000 || len(l.log) < 500 {
			t.Errorf("%d of 2000 stopped, %d expired", stopped, len(l.log))
		}
	})
}

type ignore struct{}

func (ignore) Expired(*timerlist.Timer) {}

// An entry allocates nothing: all share one timer.
func TestTimersAllocateNothing(t *testing.T) {
	l := timerlist.New(time.Hour)
	entries := make([]timerlist.Timer, 50)
	allocs := testing.AllocsPerRun(1000, func() {
		for i := range entries {
			l.Start(&entries[i], ignore{})
		}
		for i := range entries {
			if !l.Stop(&entries[i]) {
				t.Fatal("not stopped")
			}
		}
	})
	if allocs != 0 {
		t.Errorf("fifty entries allocate %v times", allocs)
	}
}
