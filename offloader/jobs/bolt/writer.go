package bolt

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/internal/diskspace"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// maxBatch is the largest number of changes in a transaction.
const maxBatch = 256

// writer makes transactions of the changes that wait, one after the other. The first caller
// makes one itself, and a goroutine those after it: so a single caller waits for no goroutine.
type writer struct {
	e         *Engine
	committed func(took time.Duration, changes int) // nil: it is not called

	mu      sync.Mutex
	waiting []*request
	busy    bool // a caller or the goroutine makes transactions
	more    sync.WaitGroup
}

// request is a change that waits for its transaction.
type request struct {
	change change
	taken  atomic.Bool // by the writer, or by its caller to withdraw it
	err    error
	done   chan struct{}
}

// do returns when the change is durable. A caller whose context ends leaves, unless the
// transaction has begun: then only its end shows whether the change is stored.
func (w *writer) do(ctx context.Context, c change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{change: c, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, r)
	first := !w.busy
	w.busy = true
	w.mu.Unlock()
	if first && w.turn() {
		w.more.Go(func() {
			for w.turn() {
			}
		})
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		<-r.done
	}
	return r.err
}

// stop waits for the goroutine. No caller waits.
func (w *writer) stop() { w.more.Wait() }

// turn makes a transaction, and reports whether more changes wait.
func (w *writer) turn() bool {
	if batch := w.next(); len(batch) > 0 {
		began := time.Now()
		w.commit(batch)
		if w.committed != nil {
			w.committed(time.Since(began), len(batch))
		}
		for _, r := range batch {
			close(r.done)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = len(w.waiting) > 0
	return w.busy
}

// next takes changes that wait.
func (w *writer) next() (batch []*request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.waiting), maxBatch)
	for _, r := range w.waiting[:n] {
		if r.taken.CompareAndSwap(false, true) {
			batch = append(batch, r)
		}
	}
	if w.waiting = w.waiting[n:]; len(w.waiting) == 0 {
		w.waiting = nil
	}
	return batch
}

// commit makes a transaction of the batch. On a full disk it leaves out new jobs, so that
// those that are stored can go on.
func (w *writer) commit(batch []*request) {
	err := w.transact(batch)
	if diskspace.Full(err) {
		err = fmt.Errorf("%w: %w", jobs.ErrFull, err)
		var rest []*request
		for _, r := range batch {
			if _, isNew := r.change.(*accept); isNew {
				r.err = err
			} else {
				rest = append(rest, r)
			}
		}
		if len(rest) == len(batch) || len(rest) == 0 {
			fail(rest, err)
			return
		}
		// Pages that the last checkpoint keeps may be enough for them.
		if err = w.release(); err == nil {
			err = w.transact(rest)
		}
		if diskspace.Full(err) {
			err = fmt.Errorf("%w: %w", jobs.ErrFull, err)
		}
		batch = rest
	}
	if err != nil {
		fail(batch, err)
	}
}

// release makes a checkpoint, after which pages of the database can be used again.
func (w *writer) release() error {
	if w.e.journal == nil || w.e.broken.Load() != nil {
		return nil
	}
	return guarded(func() error {
		w.e.db.NoFreelistSync = false
		_ = w.e.db.Update(func(*bbolt.Tx) error { return nil }) // writes the list, if there is room
		return w.e.checkpoint()
	}, w.e.breaks)
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
	}
}

// transact sets the errors of changes that fail alone, and returns one of all.
func (w *writer) transact(batch []*request) error {
	e := w.e
	if err := e.broken.Load(); err != nil {
		return *err
	}
	return guarded(func() error {
		if e.journal != nil && e.size > reservedSpace-spareSpace {
			if err := e.leaveJournal(); err != nil {
				return e.breaks(err)
			}
		}
		tx, err := e.db.Begin(true)
		if err != nil {
			return e.breaks(err)
		}
		defer func() { _ = tx.Rollback() }() // does nothing after a commit
		s := e.db.Stats()
		e.size = tx.Size()
		e.used.Store(e.size - int64(s.FreePageN+s.PendingPageN)*e.pageSize)
		b := e.newBatch(tx)
		for _, r := range batch {
			r.err = r.change.apply(b)
		}
		if !b.changed {
			return nil
		}
		if err := b.end(); err != nil {
			return err
		}
		if b.renamed {
			if err := e.files.syncFolder(); err != nil {
				return err
			}
		}
		if err := e.durable(tx, b.log); err != nil {
			return err
		}
		e.totals.Store(&b.totals)
		return nil
	}, e.breaks)
}
