package celery

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Workers is what is known about the workers behind a broker: from the
// heartbeats that they send every two seconds, and from asking them. Answers are
// kept for a while, and however many callers want one, it is asked for once.
type Workers struct {
	broker Broker

	pings      cached[[]string]
	queues     cached[map[string][]Queue]
	registered cached[map[string][]string]
	stats      cached[map[string]Stats]

	mu     sync.Mutex
	beats  map[string]Worker              // by name, guarded by mu
	gauges map[string]*cached[QueueState] // by queue, guarded by mu
}

// Worker is one that has told about itself lately.
type Worker struct {
	Name    string
	Version string
	// Active is how many tasks it runs, and Processed how many it has run.
	Active, Processed int
	// Until when it counts as alive without another heartbeat.
	Until time.Time
}

// NewWorkers returns what is known about the workers behind a broker: nothing
// yet. Follow makes it know more.
func NewWorkers(b Broker) *Workers {
	return &Workers{broker: b, beats: make(map[string]Worker), gauges: make(map[string]*cached[QueueState])}
}

// Times between two attempts to follow workers.
const (
	firstFollow = 100 * time.Millisecond
	lastFollow  = 5 * time.Second
)

// Follow listens to heartbeats until the context ends. It returns at once if the
// broker cannot pass them on. Without it, workers are known from asking alone.
func (w *Workers) Follow(ctx context.Context) {
	follower, ok := w.broker.(Follower)
	if !ok {
		return
	}
	for wait := firstFollow; ctx.Err() == nil; wait = min(2*wait, lastFollow) {
		var heard atomic.Bool
		_ = follower.Follow(ctx, func(body []byte) { // why it ended is no matter: try again
			heard.Store(true)
			w.receive(body)
		})
		if heard.Load() {
			wait = firstFollow
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (w *Workers) receive(body []byte) {
	events, err := decodeEvents(body)
	if err != nil {
		return // the next heartbeat may be readable
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		switch e.Type {
		case workerOnline, workerHeartbeat:
			w.beats[e.Hostname] = Worker{e.Hostname, e.Version, e.Active, e.Processed, now.Add(e.expiry())}
		case workerOffline:
			delete(w.beats, e.Hostname)
		}
	}
}

// Snapshot lists the workers whose heartbeats are heard, by name.
func (w *Workers) Snapshot() []Worker {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetSilent(now)
	all := make([]Worker, 0, len(w.beats))
	for _, worker := range w.beats {
		all = append(all, worker)
	}
	slices.SortFunc(all, func(a, b Worker) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// alive counts the workers whose heartbeats are heard.
func (w *Workers) alive(now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetSilent(now)
	return len(w.beats)
}

func (w *Workers) forgetSilent(now time.Time) {
	for name, worker := range w.beats {
		if worker.Until.Before(now) {
			delete(w.beats, name)
		}
	}
}
