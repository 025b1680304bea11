// Package spool keeps bodies off the backend's back: bytes go to memory first,
// then to a temporary file, within bounds for each body and a budget for the
// whole process, which owners share fairly. [Body] holds a request's body before
// its run; package stream builds the response side on the same [Store].
package spool

import (
	"errors"
	"sync"
)

// Errors of a spool.
var (
	// ErrTooLarge: the body is larger than its own bounds.
	ErrTooLarge = errors.New("body is larger than its spool")
	// ErrFull: the process-wide budget is spent, or the file cannot grow.
	ErrFull = errors.New("spool is full")
)

// Defaults of the process-wide budget.
const (
	DefaultMemory  = 256 << 20
	DefaultDisk    = 8 << 30
	DefaultUploads = 1000
	// DefaultMinRate is what Apache's mod_reqtimeout asks of a body.
	DefaultMinRate = 500
)

// Limits bound all spools of a process together.
type Limits struct {
	// Dir is where temporary files go. It is made when it is first needed,
	// for this user only. Empty: the system's folder for temporary files.
	Dir string
	// Memory and Disk are in bytes. Request bodies may have half of each, and
	// streams the other half.
	Memory, Disk int64
	// Uploads is how many bodies may be read at once.
	Uploads int
	// MinRate is how many bytes a second a body must bring, over a minute or
	// so. Who brings less is ended, and loses its place sooner if others want
	// it. Zero: as slowly as it likes.
	MinRate int64
}

// DefaultLimits returns the limits of a process that sets none.
func DefaultLimits() Limits {
	return Limits{Memory: DefaultMemory, Disk: DefaultDisk, Uploads: DefaultUploads, MinRate: DefaultMinRate}
}

// Usage is what spools hold now. StreamMemory and StreamDisk are the parts of
// Memory and Disk that belong to streams, the rest belongs to bodies.
type Usage struct {
	Memory       int64 `json:"memory_bytes"`
	Disk         int64 `json:"disk_bytes"`
	StreamMemory int64 `json:"stream_memory_bytes"`
	StreamDisk   int64 `json:"stream_disk_bytes"`
	Uploads      int   `json:"uploads"`
}

// Holder says what a store keeps. Each has its own half of the budget.
type Holder uint8

const (
	// OfBody is a store that keeps a request's body.
	OfBody Holder = iota
	// OfStream is a store that keeps what of a stream was not read yet.
	OfStream

	holders
)

// resource is what a budget has.
type resource uint8

const (
	memory resource = iota
	disk
	places // of uploads

	resources
)

// Half is the most that one kind of holder may have of Memory and Disk.
func (l Limits) Half() (memory, disk int64) { return l.Memory / 2, l.Disk / 2 }

// of returns how much of a resource there is for one kind of holder.
func (l Limits) of(r resource) int64 {
	ofMemory, ofDisk := l.Half()
	return [resources]int64{memory: ofMemory, disk: ofDisk, places: int64(l.Uploads)}[r]
}

// Budget is shared by all spools of a process. Its methods may be used from any
// goroutine.
type Budget struct {
	mu       sync.Mutex
	limits   Limits
	used     [holders][resources]int64
	accounts accounts
	uploads  map[*Upload]struct{}
	order    uint64        // of the last upload
	freed    chan struct{} // closed when something comes back, nil if nobody waits
}

// NewBudget returns a budget of that size.
func NewBudget(l Limits) *Budget {
	return &Budget{limits: l, uploads: make(map[*Upload]struct{}), accounts: make(accounts)}
}

// Configure changes the limits. Bodies that are kept stay.
func (b *Budget) Configure(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limits = l
	b.wake()
}

// Limits returns the limits in force.
func (b *Budget) Limits() Limits {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limits
}

// Usage returns what is taken of the budget.
func (b *Budget) Usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	bodies, streams := &b.used[OfBody], &b.used[OfStream]
	return Usage{
		Memory: bodies[memory] + streams[memory], Disk: bodies[disk] + streams[disk],
		StreamMemory: streams[memory], StreamDisk: streams[disk],
		Uploads: int(bodies[places]),
	}
}

// Freed returns a channel that is closed when something comes back.
func (b *Budget) Freed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return b.freed
}

// take takes what is asked for if there is room for it.
func (b *Budget) take(m *member, want ask) bool {
	m.meet()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fits(m, want) {
		return false
	}
	b.count(m, want.of, want.n)
	return true
}

// give gives n of a resource back.
func (b *Budget) give(m *member, r resource, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count(m, r, -n)
	b.wake()
}

// count requires b.mu.
func (b *Budget) count(m *member, r resource, n int64) {
	b.used[m.holder][r] += n
	m.taken[r] += n
	b.accounts.count(m, r, n)
}

func (b *Budget) wake() {
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}
