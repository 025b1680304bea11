package modelserver

import (
	"maps"
	"sync"
)

// Stats are the figures of a GPU.
type Stats struct {
	// Parallel is the number of requests that may run at once.
	Parallel int `json:"parallel"`
	// Running is the number of requests that run now.
	Running int `json:"running"`
	// MostRunning is the largest value of Running so far.
	MostRunning int `json:"most_running"`
	// Overloads is the number of requests that got a 503.
	Overloads int `json:"overloads"`
	// Users has the figures of each user, by the field X-User of its requests.
	Users map[string]Usage `json:"users"`
}

// Usage is what a user got.
type Usage struct {
	// Started is the number of requests that began to run.
	Started int `json:"started"`
	// Served is the number of those that got all of their tokens.
	Served int `json:"served"`
	// Left is the number of requests whose clients left before the answer was complete.
	Left int `json:"left"`
	// Tokens is the number of tokens in all answers.
	Tokens int `json:"tokens"`
}

// figures guards Stats.
type figures struct {
	mu    sync.Mutex
	stats Stats // guarded by mu
}

func newFigures(parallel int) figures {
	return figures{stats: Stats{Parallel: parallel, Users: map[string]Usage{}}}
}

// begin reports whether there is room for one more request, which runs then.
func (f *figures) begin(user string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stats.Running == f.stats.Parallel {
		f.stats.Overloads++
		return false
	}
	f.stats.Running++
	f.stats.MostRunning = max(f.stats.MostRunning, f.stats.Running)
	f.count(user, Usage{Started: 1})
	return true
}

// end counts a request that has begun.
func (f *figures) end(user string, tokens int, served bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Running--
	if served {
		f.count(user, Usage{Served: 1, Tokens: tokens})
	} else {
		f.count(user, Usage{Left: 1, Tokens: tokens})
	}
}

// count is called with mu held.
func (f *figures) count(user string, more Usage) {
	u := f.stats.Users[user]
	f.stats.Users[user] = Usage{
		Started: u.Started + more.Started, Served: u.Served + more.Served,
		Left: u.Left + more.Left, Tokens: u.Tokens + more.Tokens,
	}
}

func (f *figures) snapshot() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Users = maps.Clone(s.Users)
	return s
}
