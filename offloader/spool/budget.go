// Package spool keeps bodies away from the backend: bytes go to memory first, then to a
// temporary file, within bounds for each body and a budget for the whole process, which
// owners share fairly. [Body] holds the body of a request before its run; package
// stream builds the response side on the same [Store].
package spool

import (
	"errors"
	"sync"
)

// Errors of a spool.
var (
	// ErrTooLarge: the body is larger than its own bounds.
	ErrTooLarge = errors.New("body is larger than its spool")
	// ErrFull: the budget of the process is used up, or the file cannot grow.
	ErrFull = errors.New("spool is full")
)

// Defaults of the budget of the process.
const (
	DefaultMemory  = 256 << 20
	DefaultDisk    = 8 << 30
	DefaultUploads = 1000
	// DefaultMinRate is the least rate of Apache's mod_reqtimeout, in bytes per second.
	DefaultMinRate = 500
)

// Limits bound all spools of a process together.
type Limits struct {
	// Dir is the folder of temporary files. It is made when it is first needed, for
	// this user only. Empty: the system's folder for temporary files.
	Dir string
	// Memory and Disk are in bytes. Request bodies share one half of each, streams the
	// other half.
	Memory, Disk int64
	// Uploads is the number of bodies that may be read at once.
	Uploads int
	// MinRate is the least rate of a body in bytes per second, over about a minute. A
	// slower body fails, and fails earlier if other uploads need its place. Zero: no least
	// rate.
	MinRate int64
}

// DefaultLimits returns the default limits of a process.
func DefaultLimits() Limits {
	return Limits{Memory: DefaultMemory, Disk: DefaultDisk, Uploads: DefaultUploads, MinRate: DefaultMinRate}
}

// Usage is the part of the budget that is in use: Memory and Disk in bytes, Uploads as a
// number of bodies. StreamMemory and StreamDisk are the parts of Memory and Disk that
// belong to streams; the rest belongs to request bodies.
type Usage struct {
	Memory       int64
	Disk         int64
	StreamMemory int64
	StreamDisk   int64
	Uploads      int
}

// Holder is the kind of content of a store. Each kind has its own half of the budget.
type Holder uint8

const (
	// OfBody is for stores that keep a request's body.
	OfBody Holder = iota
	// OfStream is a store that keeps the unread part of a stream.
	OfStream

	holders
)

// resource is a part of a budget.
type resource uint8

const (
	memory resource = iota
	disk
	uploads // number of uploads

	resources
)

// Half returns the part of Memory and Disk for request bodies, which is also the part for
// streams.
func (l Limits) Half() (memory, disk int64) { return l.Memory / 2, l.Disk / 2 }

// of returns the limit of a resource for one kind of holder: request bodies or responses.
func (l Limits) of(r resource) int64 {
	ofMemory, ofDisk := l.Half()
	return [resources]int64{memory: ofMemory, disk: ofDisk, uploads: int64(l.Uploads)}[r]
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
	freed    chan struct{} // closed when something is given back, nil if no caller waits
}

// NewBudget returns a budget with these limits.
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

// Usage returns the part of the budget in use.
func (b *Budget) Usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	bodies, streams := &b.used[OfBody], &b.used[OfStream]
	return Usage{
		Memory: bodies[memory] + streams[memory], Disk: bodies[disk] + streams[disk],
		StreamMemory: streams[memory], StreamDisk: streams[disk],
		Uploads: int(bodies[uploads]),
	}
}

// Freed returns a channel that is closed when something is given back.
func (b *Budget) Freed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return b.freed
}

// take takes an amount of a resource if there is room for it.
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

// count adds n to the amounts in use of a resource. It requires b.mu.
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
