// Package spool keeps bodies off the backend's back: bytes go to memory first,
// then to a temporary file, within bounds for each body and a budget for the
// whole process. [Body] holds a request's body before its run; package stream
// builds the response side on the same [Store].
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
	// Memory and Disk are in bytes.
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

// Holder says what a store keeps.
type Holder uint8

const (
	// OfBody is a store that keeps a request's body.
	OfBody Holder = iota
	// OfStream is a store that keeps what of a stream was not read yet.
	OfStream
)

func (u *Usage) add(h Holder, memory, disk int64) {
	u.Memory += memory
	u.Disk += disk
	if h == OfStream {
		u.StreamMemory += memory
		u.StreamDisk += disk
	}
}

// Budget is shared by all spools of a process. Its methods may be used from any
// goroutine.
type Budget struct {
	mu      sync.Mutex
	limits  Limits
	used    Usage // but for the uploads
	uploads map[*Upload]struct{}
	freed   chan struct{} // closed when something comes back, nil if nobody waits
}

// NewBudget returns a budget of that size.
func NewBudget(l Limits) *Budget {
	return &Budget{limits: l, uploads: make(map[*Upload]struct{})}
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
	used := b.used
	used.Uploads = len(b.uploads)
	return used
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

func (b *Budget) takeMemory(h Holder, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used.Memory+n > b.limits.Memory {
		return false
	}
	b.used.add(h, n, 0)
	return true
}

func (b *Budget) takeDisk(h Holder, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used.Disk+n > b.limits.Disk {
		return false
	}
	b.used.add(h, 0, n)
	return true
}

func (b *Budget) give(h Holder, memory, disk int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.add(h, -memory, -disk)
	b.wake()
}

func (b *Budget) wake() {
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}
