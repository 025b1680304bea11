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
)

// Workers is what is known about the workers behind a broker: from the
// heartbeats that they send every two seconds, and from asking them. Answers are
// kept for a while, and however many callers want one, it is asked for once.
type Workers struct {
	broker Broker
	asking *asking

	pings      *survey[json.RawMessage]
	queues     *survey[[]Queue]
	registered *survey[[]string]
	stats      *survey[Stats]
	listeners  *question[int]

	mu      sync.Mutex
	beats   map[string]Worker                // by name, guarded by mu
	seen    map[string]time.Time             // when a worker was heard last, unless it said goodbye; guarded by mu
	trusted time.Time                        // until when workers that fall silent count; guarded by mu
	since   time.Time                        // of the first heartbeat on this connection, zero before; guarded by mu
	gauges  map[string]*question[QueueState] // by queue, guarded by mu
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
// yet. Follow makes it know more. It must be closed before the broker is.
func NewWorkers(b Broker) *Workers {
	w := &Workers{
		broker: b, asking: newAsking(),
		beats: make(map[string]Worker), seen: make(map[string]time.Time),
		gauges: make(map[string]*question[QueueState]),
	}
	w.listeners = &question[int]{asking: w.asking, times: timesOfPings, ask: w.countListeners}
	w.pings = newSurvey(w, aboutLife, timesOfPings)
	w.queues = newSurvey(w, aboutQueues, timesOfQueues)
	w.registered = newSurvey(w, aboutNames, timesOfNames)
	w.stats = newSurvey(w, aboutStats, timesOfStats)
	return w
}

// Close ends what is being asked, and waits for that. Follow ends with its context.
func (w *Workers) Close() { w.asking.close() }

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
		w.beginListening()
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

// beginListening forgets for how long heartbeats were heard: some may have been
// missed.
func (w *Workers) beginListening() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
}

func (w *Workers) receive(body []byte) {
	events, err := decodeEvents(body)
	if err != nil {
		return // the next heartbeat may be readable
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

// settle is for how long heartbeats must be heard until all workers have sent one.
const settle = 2 * defaultFreq

// heard names the workers whose heartbeats are heard, if those are likely to be
// all.
func (w *Workers) heard(now time.Time) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || now.Sub(w.since) < settle {
		return nil
	}
	w.forgetSilent(now)
	return slices.Collect(maps.Keys(w.beats))
}

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
