package celery

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/refresh"
)

// Workers collects facts about the workers behind a broker: from the heartbeats that they
// send every two seconds, and from their replies to commands. Replies are cached (see
// [refresh.Cached]): any number of callers cause one command at a time.
type Workers struct {
	broker    Broker
	refreshes *refresh.Group // of all caches below

	pings      *fleetCache[json.RawMessage]
	queues     *fleetCache[[]Queue]
	registered *fleetCache[[]string]
	stats      *fleetCache[Stats]
	listeners  *refresh.Cached[int] // number of workers that listen to commands, -1 for unknown

	mu      sync.Mutex
	beats   map[string]Worker                      // alive by their heartbeats, by name; guarded by mu
	seen    map[string]time.Time                   // when a worker was last heard, unless it went offline; guarded by mu
	trusted time.Time                              // silent workers count as alive until then, guarded by mu
	since   time.Time                              // of the first heartbeat on this connection, zero before; guarded by mu
	gauges  map[string]*refresh.Cached[QueueState] // by queue, guarded by mu
}

// Worker is a worker whose heartbeats are received.
type Worker struct {
	Name    string
	Version string
	// Active is how many tasks it runs, and Processed how many it has run.
	Active, Processed int
	// Until is when the worker stops to count as alive unless another heartbeat comes.
	Until time.Time
}

// NewWorkers returns a collector without any data. Call Follow to receive heartbeats, and
// Close before the broker is closed.
func NewWorkers(b Broker) *Workers {
	w := &Workers{
		broker: b, refreshes: refresh.NewGroup(ErrClosed),
		beats: make(map[string]Worker), seen: make(map[string]time.Time),
		gauges: make(map[string]*refresh.Cached[QueueState]),
	}
	w.listeners = refresh.New(w.refreshes, pingLifetimes, w.countListeners)
	w.pings = newFleetCache(w, pingQuery, pingLifetimes)
	w.queues = newFleetCache(w, queuesQuery, queueLifetimes)
	w.registered = newFleetCache(w, tasksQuery, taskLifetimes)
	w.stats = newFleetCache(w, statsQuery, statsLifetimes)
	return w
}

// Close cancels running commands and waits for their end. It does not end Follow, which
// ends with its context.
func (w *Workers) Close() { w.refreshes.Close() }

// Times between two attempts to follow workers.
const (
	firstFollow = 100 * time.Millisecond
	lastFollow  = 5 * time.Second
)

// Follow receives heartbeats until the context ends. It returns at once if the broker is no
// Follower. Without heartbeats, workers are known from their replies alone.
func (w *Workers) Follow(ctx context.Context) {
	follower, ok := w.broker.(Follower)
	if !ok {
		return
	}
	for wait := firstFollow; ctx.Err() == nil; wait = min(2*wait, lastFollow) {
		var heard atomic.Bool
		w.beginListening()
		_ = follower.Follow(ctx, func(body []byte) { // any error: try again
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

// beginListening resets since, as heartbeats may have been missed between two connections.
func (w *Workers) beginListening() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
}

func (w *Workers) receive(body []byte) {
	events, err := decodeEvents(body)
	if err != nil {
		return // the next heartbeat may be valid
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		w.since = now
	}
	for _, e := range events {
		switch e.Type {
		case workerOnline, workerHeartbeat:
			w.beats[e.Hostname] = Worker{e.Hostname, e.Version, e.Active, e.Processed, now.Add(e.expiry())}
			w.seen[e.Hostname] = now
		case workerOffline:
			delete(w.beats, e.Hostname)
			delete(w.seen, e.Hostname)
		}
	}
}

// Snapshot returns the workers that are alive by their heartbeats, sorted by name.
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

// alive counts the workers that are alive by their heartbeats.
func (w *Workers) alive(now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetSilent(now)
	return len(w.beats)
}

// warmup is how long heartbeats must be received until every living worker has sent one.
const warmup = 2 * defaultFreq

// heard returns the names of the workers that are alive by their heartbeats, or nil before
// every worker had time to send one.
func (w *Workers) heard(now time.Time) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || now.Sub(w.since) < warmup {
		return nil
	}
	w.forgetSilent(now)
	return slices.Collect(maps.Keys(w.beats))
}

// forgetSilent removes workers whose heartbeats are overdue from beats, and those that were
// not heard for longestSilence from seen. The caller holds mu.
func (w *Workers) forgetSilent(now time.Time) {
	for name, worker := range w.beats {
		if worker.Until.Before(now) {
			delete(w.beats, name)
		}
	}
	for name, at := range w.seen {
		if now.Sub(at) > longestSilence {
			delete(w.seen, name)
		}
	}
}
