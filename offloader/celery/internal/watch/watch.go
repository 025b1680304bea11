// Package watch provides the shared parts of backends: the table of watchers by task, and the
// state of the connection to a server.
package watch

import (
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Table holds the watchers of all tasks. Its zero value is empty.
type Table struct {
	mu      sync.Mutex
	tasks   map[string]*entry // guarded by mu
	closed  error             // returned by Add once the table is closed, guarded by mu
	entries int               // number of watchers, guarded by mu
}

// entry is an element of the list of a task's watchers. Lists are immutable, so that they can
// be read without the lock.
type entry struct {
	watcher celery.Watcher
	next    *entry
}

// Add makes w watch a task. first reports whether it is the only watcher. Add returns an error
// once the table is closed.
func (t *Table) Add(id string, w celery.Watcher) (first bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed != nil {
		return false, t.closed
	}
	if t.tasks == nil {
		t.tasks = make(map[string]*entry)
	}
	others := t.tasks[id]
	t.tasks[id] = &entry{watcher: w, next: others}
	t.entries++
	return others == nil, nil
}

// Remove ends one watch of w. last reports whether the task has no watcher left.
func (t *Table) Remove(id string, w celery.Watcher) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	head := t.tasks[id]
	rest := head.without(w)
	switch {
	case head == nil || rest.len() == head.len():
		return false
	case rest == nil:
		delete(t.tasks, id)
	default:
		t.tasks[id] = rest
	}
	t.entries--
	return rest == nil
}

// Watched reports whether a task has a watcher.
func (t *Table) Watched(id string) bool { return t.watchers(id) != nil }

// Report passes a state to the watchers of a task. It returns false if there are none.
func (t *Table) Report(id string, payload []byte) bool {
	head := t.watchers(id)
	for e := head; e != nil; e = e.next {
		e.watcher.Report(payload)
	}
	return head != nil
}

// Fail fails the watchers of a task.
func (t *Table) Fail(id string, err error) {
	for e := t.watchers(id); e != nil; e = e.next {
		e.watcher.Fail(err)
	}
}

// FailAll fails all watchers.
func (t *Table) FailAll(err error) {
	for _, id := range t.IDs() {
		t.Fail(id, err)
	}
}

// Close fails all watchers and makes Add return the error.
func (t *Table) Close(err error) {
	t.mu.Lock()
	t.closed = err
	t.mu.Unlock()
	t.FailAll(err)
}

// IDs returns the watched tasks.
func (t *Table) IDs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]string, 0, len(t.tasks))
	for id := range t.tasks {
		ids = append(ids, id)
	}
	return ids
}

// Len returns the number of watchers.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entries
}

func (t *Table) watchers(id string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tasks[id]
}

// without returns the list without the first entry of w.
func (e *entry) without(w celery.Watcher) *entry {
	switch {
	case e == nil:
		return nil
	case e.watcher == w:
		return e.next
	}
	return &entry{watcher: e.watcher, next: e.next.without(w)}
}

func (e *entry) len() int {
	n := 0
	for ; e != nil; e = e.next {
		n++
	}
	return n
}
