// Package bolt is the engine of jobs for one machine: a bbolt database for records and small
// bodies and results, and files for larger ones.
//
// One goroutine at a time writes. It takes all changes that wait, makes one transaction of
// them, and answers their callers when it is durable, so callers share the time of the disk.
// Readers never wait for it.
//
// A record is in the table of open jobs, or in that of ended ones: so the work of an accept
// does not grow with the number of jobs that are kept.
package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt/internal/journal"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/sealed"
)

// Key encrypts what the engine stores.
type Key = sealed.Key

// Options of an engine.
type Options struct {
	// MaxBytes bounds the used part of the database and all files together. Zero: 10 GiB,
	// negative: no bound.
	MaxBytes int64
	// MinFree is how many bytes of the file system stay free: jobs are not accepted below.
	// Zero: 5 %, at least 1 GiB. Negative: none.
	MinFree int64
	// Keys encrypt records, bodies and results. The first one is for new data; the others
	// are for reading alone. Empty: new data is not encrypted.
	Keys []Key
	// Committed is called after each transaction, with its time and its number of changes.
	// Nil: it is not.
	Committed func(took time.Duration, changes int)
}

const defaultMaxBytes = 10 << 30

// ErrLocked: another process uses the store.
var ErrLocked = errors.New("the store of jobs is in use")

// Engine implements jobs.Engine.
type Engine struct {
	folder  string
	lastEnd jobs.End
	keys    *sealed.Keys // nil: not encrypted
	salt    []byte       // of the hashes in indexes
	files   *files
	room    *room
	writer  *writer

	db       *bbolt.DB
	file     *os.File // of db
	pageSize int64
	reserved bool // there are addresses for reservedSpace

	// Of the writer's goroutine:
	size            int64            // of the database before the last transaction
	journal         *journal.Journal // nil: each transaction flushes the database
	pin             *bbolt.Tx        // keeps the pages of the last checkpoint
	sinceCheckpoint int              // transactions

	life   sync.RWMutex // held for reading by methods that run
	closed bool

	broken atomic.Pointer[error]
	totals atomic.Pointer[totals]
	used   atomic.Int64 // bytes of the database with content
}

var _ jobs.Engine = (*Engine)(nil)

// LastEnd returns how the process ended that used the store last.
func (e *Engine) LastEnd() jobs.End { return e.lastEnd }

// enter begins a method. The caller calls e.life.RUnlock unless there is an error.
func (e *Engine) enter() error {
	e.life.RLock()
	err := e.usable()
	if err != nil {
		e.life.RUnlock()
	}
	return err
}

func (e *Engine) usable() error {
	if e.closed {
		return jobs.ErrEngineClosed
	}
	if err := e.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// breaks ends the use of a database that has shown to be damaged.
func (e *Engine) breaks(cause any) error {
	err := brokenError(e.folder, cause)
	e.broken.CompareAndSwap(nil, &err)
	return *e.broken.Load()
}

func brokenError(folder string, cause any) error {
	reason, ok := cause.(error)
	if !ok {
		reason = fmt.Errorf("%v", cause)
	}
	return fmt.Errorf("%w: %s: %w; look at it with 'caddy offload jobs check %s'",
		jobs.ErrBroken, filepath.Join(folder, databaseName), reason, folder)
}

// guarded runs f. bbolt panics on damaged pages, and reading pages that the file does not have
// is a fault of memory.
func guarded(f func() error, onPanic func(cause any) error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = onPanic(cause)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f()
}

// view runs f in a short transaction: the database cannot grow during one.
func (e *Engine) view(f func(tx *bbolt.Tx) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	return guarded(func() error { return e.db.View(f) }, e.breaks)
}

// Close waits for methods that run, and ends the engine.
func (e *Engine) Close() error {
	e.files.stopSweep()
	e.life.Lock()
	defer e.life.Unlock()
	if e.closed {
		return jobs.ErrEngineClosed
	}
	e.closed = true
	e.writer.stop()
	return e.end()
}

// end marks the database as closed. That of a damaged one stays as it is, and its locks may be
// taken.
func (e *Engine) end() error {
	if e.broken.Load() != nil {
		if e.journal != nil {
			_ = e.journal.Close()
		}
		return e.closeFile()
	}
	return guarded(func() error {
		err := e.writer.release() // so that there are pages for the list of free ones
		marked := e.db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(metaTable.name()).Put(usedKey, usedClosed)
		})
		return errors.Join(err, full(marked), e.leaveJournal(), e.db.Close())
	}, e.breaks)
}
