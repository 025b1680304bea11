package celerytest

import (
	"maps"
	"slices"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// watchers holds the watchers of [Memory], by task. It does not use the table of the real
// backends, since a test backend should not share its faults.
type watchers struct {
	mu     sync.Mutex
	byTask map[string][]celery.Watcher // guarded by mu
	closed error                       // returned by add once the backend is closed, guarded by mu
}

func (w *watchers) add(id string, watcher celery.Watcher) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed != nil {
		return w.closed
	}
	if w.byTask == nil {
		w.byTask = make(map[string][]celery.Watcher)
	}
	w.byTask[id] = append(w.byTask[id], watcher)
	return nil
}

// remove removes one entry of the watcher.
func (w *watchers) remove(id string, watcher celery.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.byTask[id]
	if i := slices.Index(all, watcher); i >= 0 {
		all = slices.Delete(slices.Clone(all), i, i+1)
	}
	if w.byTask[id] = all; len(all) == 0 {
		delete(w.byTask, id)
	}
}

// report passes a state on to the watchers of a task.
func (w *watchers) report(id string, payload []byte) {
	w.mu.Lock()
	all := slices.Clone(w.byTask[id])
	w.mu.Unlock()
	for _, watcher := range all {
		watcher.Report(payload)
	}
}

// fail ends the watch of all watchers.
func (w *watchers) fail(err error) {
	w.mu.Lock()
	all := slices.Concat(slices.Collect(maps.Values(w.byTask))...)
	w.mu.Unlock()
	for _, watcher := range all {
		watcher.Fail(err)
	}
}

// close ends the watch of all watchers and rejects new ones.
func (w *watchers) close(err error) {
	w.mu.Lock()
	w.closed = err
	w.mu.Unlock()
	w.fail(err)
}

func (w *watchers) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, all := range w.byTask {
		n += len(all)
	}
	return n
}
