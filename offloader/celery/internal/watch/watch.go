// Package watch keeps who watches which task, for backends.
package watch

import (
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Table holds the watchers of all tasks. Its zero value is empty.
type Table struct {
	mu      sync.Mutex
	tasks   map[string]*entry // guarded by mu
	closed  error             // guarded by mu; why nobody may watch any more
	entries int               // guarded by mu
}

// entry is one watcher; several may watch one task. A list of them is never
// changed, so that it can be read without the lock.
type entry struct {
	watcher celery.Watcher
	next    *entry
}

// Add makes w watch a task. first tells that nobody did so before. It fails
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

// Remove ends the watch of w over a task. last tells that nobody watches it now.
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

// Watched reports whether anybody watches a task.
func (t *Table) Watched(id string) bool { return t.watchers(id) != nil }

// Report passes a state on to who watches the task. It reports false if nobody
// does.
func (t *Table) Report(id string, payload []byte) bool {
	head := t.watchers(id)
	for e := head; e != nil; e = e.next {
		e.watcher.Report(payload)
	}
	return head != nil
}

// Fail tells who watches a task that nothing more comes.
func (t *Table) Fail(id string, err error) {
	for e := t.watchers(id); e != nil; e = e.next {
		e.watcher.Fail(err)
	}
}

// FailAll tells it to everybody.
func (t *Table) FailAll(err error) {
	for _, id := range t.IDs() {
		t.Fail(id, err)
	}
}

// Close tells everybody, and lets nobody watch any more.
func (t *Table) Close(err error) {
	t.mu.Lock()
	t.closed = err
	t.mu.Unlock()
	t.FailAll(err)
}

// IDs lists the tasks that are watched.
func (t *Table) IDs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]string, 0, len(t.tasks))
	for id := range t.tasks {
		ids = append(ids, id)
	}
	return ids
}

// Len returns how many watchers there are.
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
