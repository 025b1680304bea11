package jobs

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors of engines.
var (
	// ErrUnknown: there is no job with this ID.
	ErrUnknown = errors.New("no such job")
	// ErrStale: the record was changed since it was read.
	ErrStale = errors.New("the job has changed meanwhile")
	// ErrFull: the store has reached its bound, or the disk is full.
	ErrFull = errors.New("the store of jobs is full")
	// ErrBroken: the store cannot be used, for example because its file is damaged.
	ErrBroken = errors.New("the store of jobs cannot be used")
	// ErrEngineClosed: the engine was closed.
	ErrEngineClosed = errors.New("the store of jobs is closed")
)

// End is how a process has ended that used an engine.
type End uint8

const (
	// Closed: it has closed the engine, or there was none.
	Closed End = iota
	// Killed: it was ended between Stopping and Close.
	Killed
	// Crashed: it has ended without notice.
	Crashed
	// PowerCut: the machine has ended with it. An engine may report Crashed instead.
	PowerCut
)

// InlineBytes is the largest body or result that an engine stores with the record, without a
// file.
const InlineBytes = 16 << 10

// Engine stores jobs durably: what a method has written is there after a crash of the process
// or of the machine. All methods may be called from any goroutine. The package
// offloader/jobs/enginetest has the tests that every engine must pass.
type Engine interface {
	// Accept stores a new record and its body in one step, and sets r.Rev to 1. If the hash
	// of r.Key belongs to a job already, and its time has not come, Accept stores nothing
	// and returns the record of that job. Accept takes over the body, also if it fails.
	Accept(ctx context.Context, r *Record, body Body) (earlier *Record, err error)
	// Update stores a version of a record in one step, and increments r.Rev. It returns
	// ErrStale if the stored version is not r.Rev. Inline is the whole result of the last
	// attempt if it is at most InlineBytes long and was not written by NewResult; nil leaves
	// stored bytes as they are.
	Update(ctx context.Context, r *Record, inline []byte) error
	// Remove removes a record with its body, its key and its results, if the stored version is rev.
	Remove(ctx context.Context, id ID, rev uint64) error

	// Get returns a record, or ErrUnknown.
	Get(ctx context.Context, id ID) (*Record, error)
	// Known returns the record that Accept would return for a key with this hash, or
	// ErrUnknown.
	Known(ctx context.Context, key [32]byte) (*Record, error)
	// Open lists, in the order of their IDs, the records that are not in a terminal state,
	// and those whose webhook is pending.
	Open(ctx context.Context) iter.Seq2[*Record, error]
	// Due returns records in a terminal state whose KeepUntil is not after now, the oldest
	// first.
	Due(ctx context.Context, now time.Time, limit int) ([]*Record, error)
	// List returns a page of records, the newest first.
	List(ctx context.Context, q Query) (Page, error)

	// NewBody begins a body. At most InlineBytes of it stay in memory.
	NewBody(ctx context.Context) (BodyWriter, error)
	// Body opens the body of a stored record.
	Body(ctx context.Context, r *Record) (io.ReadCloser, error)
	// NewResult begins a file for the result of an attempt, and removes those of earlier
	// attempts.
	NewResult(ctx context.Context, id ID, generation, attempt int) (ResultFile, error)
	// Result opens the result of a record with a complete response.
	Result(ctx context.Context, r *Record) (ResultReader, error)

	// Usage returns how much is stored.
	Usage(ctx context.Context) (Usage, error)
	// TenantUsage returns how much is stored for a tenant.
	TenantUsage(ctx context.Context, tenant string) (TenantUsage, error)
	// LastEnd returns how the process ended that used the engine last.
	LastEnd() End
	// Stopping stores that the process is about to end: from now on its end is no crash.
	Stopping(ctx context.Context) error
	// Close ends the engine. Methods that run return first; later calls return
	// ErrEngineClosed.
	Close() error
}

// Body is a body that was written and not yet accepted. The zero value is an empty body.
type Body struct {
	// Inline is the whole body, if it is at most InlineBytes long.
	Inline []byte
	// File is the engine's own name for a longer body.
	File string
	Size int64

	// late ends the body when its job is accepted: see Service.NewBody.
	late BodyWriter
}

// BodyWriter takes the bytes of a body.
type BodyWriter interface {
	io.Writer
	// End makes the body durable, and returns it for Accept.
	End() (Body, error)
	// Discard removes a body that will not be accepted. After End it does nothing: call
	// the method before.
	Discard()
}

// ResultFile is the result of an attempt while it is written. One goroutine writes, and any
// number may read the bytes that it has written.
type ResultFile interface {
	io.Writer
	io.ReaderAt
	// Sync makes the written bytes durable.
	Sync() error
	// Close closes the file. The caller has no reader left. The file stays stored.
	Close() error
}

// ResultReader reads a complete result. An engine that keeps results as they are in files
// returns an *os.File as the ReaderAt.
type ResultReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Query selects records for a page.
type Query struct {
	// States of the records; none: all.
	States []State
	// Route, Tenant and Owner, if they are set.
	Route  string
	Tenant string
	Owner  [32]byte
	// Before is the last ID of the page before. Zero: the newest jobs.
	Before ID
	// Limit of the page's length, at least 1.
	Limit int
}

// Page is a part of a list.
type Page struct {
	Records []*Record
	// More: there are further records after the last one of Records.
	More bool
}

// Usage is how much an engine stores.
type Usage struct {
	Jobs       int64           // of all states
	States     map[State]int64 // number of records by stored state
	FileBytes  int64           // of the database
	FreeBytes  int64           // within the database
	BodyBytes  int64           // of request bodies, inline or not
	ResultSize int64           // of results, inline or not
	Limit      int64           // of all of them together, zero: none
}

// TenantUsage is how much an engine stores for a tenant.
type TenantUsage struct {
	Open  int64 // records that are not in a terminal state
	Jobs  int64
	Bytes int64 // of bodies and results
}
