//go:build integration

package backends

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// limit is less than any backend takes by itself.
const limit = 3

// hold is how long the backend works on a request, and early when a timeout or a client
// ends it for the proxy.
const (
	hold  = 3 * time.Second
	early = time.Second
)

// scenario is a way in which requests end before the backend has.
type scenario struct {
	name    string
	words   string // of its pool
	clients []client
	// cancelUntil is how long after its beginning an operator cancels a run; zero: not
	// at all.
	cancelUntil time.Duration
	// want are the answers that clients may get.
	want []string
	// full means that the pool's limit is certainly reached.
	full bool
	// prompt means that the first answers come while the backend works on.
	prompt bool
}

var scenarios = []scenario{
	{
		name: "leave", clients: slices.Repeat([]client{{route: "hold", seconds: hold.Seconds(), leaveAfter: early / 2}}, 12),
		want: []string{"left"}, full: true,
	},
	{
		name: "first_byte_timeout", words: "first_byte_timeout " + early.String(), clients: patient(7),
		want: []string{"504"}, full: true, prompt: true,
	},
	{
		name: "run_timeout", words: "first_byte_timeout off\n\t\t\trun_timeout " + early.String(), clients: patient(7),
		want: []string{"504"}, full: true, prompt: true,
	},
	{
		name: "cancel", clients: patient(7), cancelUntil: hold,
		want: []string{"503"}, full: true, prompt: true,
	},
	{
		name: "stream", clients: slices.Repeat([]client{{route: "stream", seconds: hold.Seconds(), leaveAtFirst: true}}, 7),
		want: []string{"left"},
	},
	{
		name: "mixed", words: "first_byte_timeout " + early.String() + "\n\t\t\trun_timeout " + (2 * early).String(), clients: mixed(16),
		cancelUntil: early * 2 / 3, want: []string{"left", "504", "503", "200", "200 cut"},
	},
}

// patient are clients that wait for their answers.
func patient(n int) []client {
	return slices.Repeat([]client{{route: "hold", seconds: hold.Seconds()}}, n)
}

// mixed are clients of all kinds, in an order that is always the same.
func mixed(n int) []client {
	random := rand.New(rand.NewPCG(1, 2))
	clients := make([]client, n)
	for i := range clients {
		c := client{route: "hold", seconds: 0.5 + 2*random.Float64()}
		switch random.IntN(4) {
		case 0:
			c.leaveAfter = early/4 + time.Duration(random.Int64N(int64(early)))
		case 1:
			c.route, c.leaveAtFirst = "stream", true
		case 2:
			c.route = "stream"
		}
		clients[i] = c
	}
	return clients
}

// If requests end early, for any cause, a backend never has more of them than the pool has
// permits. Their clients still get their answers in time.
func TestNeverMoreInsideThanPermits(t *testing.T) {
	var table results
	t.Cleanup(func() {
		t.Log("requests that were inside at once, for " + fmt.Sprint(limit) + " permits\n" + table.String())
	})
	commands := pythonCommands(t)
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s, err := b.serve(t, commands, start{workers: 10})
			if err != nil {
				t.Fatal(err)
			}
			p := startProxy(t, s, pools(s, limit, scenarios))
			for _, one := range scenarios {
				t.Run(one.name, func(t *testing.T) { one.play(t, s, p, &table) })
			}
		})
	}
}

func (one scenario) play(t *testing.T, s *served, p *proxy, table *results) {
	p = &proxy{t, p.addr, p.admin, p.http}
	ended := make(chan struct{})
	var operator sync.WaitGroup
	if one.cancelUntil > 0 {
		operator.Go(func() { p.operate(one.name, one.cancelUntil, ended) })
	}
	clients := slices.Clone(one.clients)
	for i := range clients {
		clients[i].ended = func(id string) bool { return s.journal.at(t, "end", id) >= 0 }
	}
	answers := askAll(p, one.name, clients, 20*time.Millisecond)
	close(ended)
	operator.Wait()
	p.eventually("the pool is empty", func() bool { return p.gauges(one.name) == gauges{} })
	p.eventually("the backend has ended all", func() bool {
		_, now, _ := s.journal.inside(t, one.name)
		return now == 0
	})
	began, _, most := s.journal.inside(t, one.name)
	table.add(s.name, one.name, most)
	if most > limit || one.full && most < limit {
		t.Errorf("%d requests were inside at once, for %d permits (%d began)", most, limit, began)
	}
	one.check(t, answers)
	if status := p.fast(); status != http.StatusOK {
		t.Errorf("afterwards the fast route answers %d", status)
	}
}

// check compares the answers with those that clients may get.
func (one scenario) check(t *testing.T, answers []answer) {
	t.Helper()
	counts := map[string]int{}
	for _, a := range answers {
		counts[a.String()]++
	}
	t.Log(counts)
	for text := range maps.Keys(counts) {
		if !slices.Contains(one.want, text) {
			t.Errorf("clients got %v, want %v only", counts, one.want)
		}
	}
	if !one.prompt {
		return
	}
	// The first have their permits at once, and the others when the backend has ended the
	// first ones.
	for _, a := range answers[:limit] {
		t.Logf("%s after %v", a, a.took.Round(time.Millisecond))
		if a.late {
			t.Errorf("%s got %s after %v: the backend had ended by then", a.client, a, a.took)
		}
	}
}

// operate cancels each request that has run for a while, until all clients are served.
// It cancels none twice, and none that a timeout is just ending: cancelling a run that has
// lost its client releases its permit, although the backend works on.
func (p *proxy) operate(name string, until time.Duration, ended <-chan struct{}) {
	done := map[string]bool{}
	for {
		for _, r := range p.running(name) {
			if r.Phase == "running" && !r.Abandoned && !done[r.ID] && r.InPhase > early/3 && r.InPhase < until {
				done[r.ID] = true
				p.cancel(r.ID)
			}
		}
		select {
		case <-ended:
			return
		case <-time.After(early / 20):
		}
	}
}

// results is the table that the test ends with.
type results struct {
	mu   sync.Mutex
	most map[string]map[string]int // by backend and scenario
}

func (r *results) add(backend, scenario string, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.most == nil {
		r.most = map[string]map[string]int{}
	}
	if r.most[backend] == nil {
		r.most[backend] = map[string]int{}
	}
	r.most[backend][scenario] = most
}

func (r *results) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s", "")
	for _, one := range scenarios {
		fmt.Fprintf(&b, "%20s", one.name)
	}
	for _, backend := range backends {
		fmt.Fprintf(&b, "\n%-18s", backend.name)
		for _, one := range scenarios {
			fmt.Fprintf(&b, "%20d", r.most[backend.name][one.name])
		}
	}
	return b.String()
}
