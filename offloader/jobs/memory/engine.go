// Package memory is an engine of jobs for tests and models. Its store outlives its engines as
// a disk outlives processes: an engine can crash at each of its calls, and another one can
// open what it left.
package memory

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// ErrCrash is what a Hook returns to crash the engine, and what all calls of a crashed engine
// return.
var ErrCrash = errors.New("the process has crashed")

// Hook is called before and after each call of an engine, without locks. A nil error lets the
// call go on. ErrCrash crashes the engine. Another error is returned to the caller: instead
// of the call, or after the call has had its effect.
type Hook func(Call) error

// Call is a call that a Hook decides on.
type Call struct {
	// Method is the name of the method, such as "Accept" or "ResultFile.Write".
	Method string
	// ID of the job, zero if the call belongs to none.
	ID jobs.ID
	// After the method has had its effect.
	After bool
}

// Options of an engine. The zero value is an engine without faults.
type Options struct {
	// Hook injects faults. Nil: none.
	Hook Hook
	// Limit of the bytes of bodies and results. Zero: none.
	Limit int64
	// Cut decides how many of the bytes of a result that were not synced are there after a
	// crash. Nil: all of them, as after the end of a process. Between 0 and unsynced: as
	// after the end of a machine.
	Cut func(unsynced int) int
	// PowerCut: the engine before has ended with its machine.
	PowerCut bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Engine is an engine in memory.
type Engine struct {
	options Options
	disk    *disk
	lastEnd jobs.End // when it was opened

	// end is what calls return when the engine has ended. The lock of the disk protects it.
	end error
}

var _ jobs.Engine = (*Engine)(nil)

// Open returns an engine with an empty store.
func Open(o Options) *Engine { return newEngine(newDisk(), jobs.Closed, o) }

// Reopen returns an engine with what this one has left, as another process would find it. An
// engine that was not closed crashes now.
func (e *Engine) Reopen(o Options) *Engine {
	e.Crash()
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	end := jobs.Closed
	if !errors.Is(e.end, jobs.ErrEngineClosed) {
		switch end = jobs.Crashed; {
		case o.PowerCut:
			end = jobs.PowerCut
		case e.disk.stopping:
			end = jobs.Killed
		}
	}
	e.disk.recover(end != jobs.Closed, e.options.Cut)
	return newEngine(e.disk, end, o)
}

func newEngine(d *disk, end jobs.End, o Options) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	d.stopping = false
	return &Engine{options: o, disk: d, lastEnd: end}
}

// Crash ends the engine as the end of its process would. It does nothing if the engine has
// ended.
func (e *Engine) Crash() {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.end == nil {
		e.end = ErrCrash
	}
}

// Files returns how many files of bodies and results there are.
func (e *Engine) Files() int {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	n := len(e.disk.files)
	for _, j := range e.disk.jobs {
		n += len(j.results)
	}
	return n
}

// call runs f under the lock of the disk, between the two calls of the hook.
func (e *Engine) call(ctx context.Context, method string, id jobs.ID, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.inject(Call{Method: method, ID: id}); err != nil {
		return err
	}
	if err := e.locked(f); err != nil {
		return err
	}
	return e.inject(Call{Method: method, ID: id, After: true})
}

func (e *Engine) locked(f func() error) error {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.end != nil {
		return e.end
	}
	return f()
}

func (e *Engine) inject(c Call) error {
	if e.options.Hook == nil {
		return nil
	}
	err := e.options.Hook(c)
	if errors.Is(err, ErrCrash) {
		e.Crash()
	}
	return err
}

// Accept stores a record with its body.
func (e *Engine) Accept(ctx context.Context, r *jobs.Record, body jobs.Body) (earlier *jobs.Record, err error) {
	accepted := false
	err = e.call(ctx, "Accept", r.ID, func() error {
		earlier, err = e.disk.accept(r, body, e.options)
		accepted = err == nil && earlier == nil
		return err
	})
	if !accepted {
		e.disk.discard(body.File)
	}
	if err != nil {
		return nil, err
	}
	if accepted {
		r.Rev = 1
	}
	return earlier, nil
}

// Update stores a version of a record.
func (e *Engine) Update(ctx context.Context, r *jobs.Record, inline []byte) error {
	err := e.call(ctx, "Update", r.ID, func() error { return e.disk.update(r, inline) })
	if err == nil {
		r.Rev++
	}
	return err
}

// Remove removes a record with all that belongs to it.
func (e *Engine) Remove(ctx context.Context, id jobs.ID, rev uint64) error {
	return e.call(ctx, "Remove", id, func() error { return e.disk.remove(id, rev) })
}

// Get returns a record.
func (e *Engine) Get(ctx context.Context, id jobs.ID) (r *jobs.Record, err error) {
	err = e.call(ctx, "Get", id, func() error {
		j, err := e.disk.find(id)
		if err == nil {
			r = j.record()
		}
		return err
	})
	return orNil(r, err)
}

// Known returns the record that has a key.
func (e *Engine) Known(ctx context.Context, key [32]byte) (r *jobs.Record, err error) {
	err = e.call(ctx, "Known", jobs.ID{}, func() error {
		r, err = e.disk.known(key, e.options)
		return err
	})
	return orNil(r, err)
}

// Open lists the records that are not done.
func (e *Engine) Open(ctx context.Context) iter.Seq2[*jobs.Record, error] {
	return func(yield func(*jobs.Record, error) bool) {
		var open []*jobs.Record
		err := e.call(ctx, "Open", jobs.ID{}, func() error {
			open = e.disk.open()
			return nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		for _, r := range open {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Due lists the records that may be removed.
func (e *Engine) Due(ctx context.Context, now time.Time, limit int) (due []*jobs.Record, err error) {
	err = e.call(ctx, "Due", jobs.ID{}, func() error {
		due = e.disk.due(now, limit)
		return nil
	})
	return orNil(due, err)
}

// List returns a page of records.
func (e *Engine) List(ctx context.Context, q jobs.Query) (page jobs.Page, err error) {
	err = e.call(ctx, "List", jobs.ID{}, func() error {
		page = e.disk.list(q)
		return nil
	})
	return orNil(page, err)
}

// Usage returns how much is stored.
func (e *Engine) Usage(ctx context.Context) (u jobs.Usage, err error) {
	err = e.call(ctx, "Usage", jobs.ID{}, func() error {
		u = e.disk.usage()
		u.Limit = e.options.Limit
		return nil
	})
	return orNil(u, err)
}

// TenantUsage returns how much is stored for a tenant.
func (e *Engine) TenantUsage(ctx context.Context, tenant string) (u jobs.TenantUsage, err error) {
	err = e.call(ctx, "TenantUsage", jobs.ID{}, func() error {
		u = e.disk.tenant(tenant)
		return nil
	})
	return orNil(u, err)
}

// orNil returns no value with an error.
func orNil[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

// LastEnd returns how the engine before this one has ended.
func (e *Engine) LastEnd() jobs.End { return e.lastEnd }

// Stopping stores that the process is about to end.
func (e *Engine) Stopping(ctx context.Context) error {
	return e.call(ctx, "Stopping", jobs.ID{}, func() error {
		e.disk.stopping = true
		return nil
	})
}

// Close ends the engine.
func (e *Engine) Close() error {
	return e.call(context.Background(), "Close", jobs.ID{}, func() error {
		e.end = jobs.ErrEngineClosed
		return nil
	})
}
