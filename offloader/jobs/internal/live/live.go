// Package live has the result of an attempt while it is written: one goroutine writes, and any
// number of readers follow it. The first bytes stay in memory; a longer result goes to a file.
package live

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
)

// ErrNoHead: the attempt has ended without a response.
var ErrNoHead = errors.New("the attempt has ended without a response")

// File takes a result that is too long for memory.
type File interface {
	io.Writer
	io.ReaderAt
	Sync() error
	Close() error
}

// Result is the result of an attempt. H is the head of the response. Set, Write and Seal are
// called by one goroutine.
type Result[H any] struct {
	inline  int
	newFile func() (File, error)
	hash    hash.Hash

	mu     sync.Mutex
	wake   chan struct{} // closed by the next change; nil while no reader waits
	head   H
	begun  bool
	bytes  []byte // the result while it has no file
	file   File
	size   int64
	ended  bool
	whole  bool
	users  int // readers, and the writer until the end
	closed bool
}

// New returns an empty result. NewFile is called when it becomes longer than inline bytes.
func New[H any](inline int, newFile func() (File, error)) *Result[H] {
	return &Result[H]{inline: inline, newFile: newFile, hash: sha256.New(), users: 1}
}

// Begin sets the head.
func (r *Result[H]) Begin(head H) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head, r.begun = head, true
	r.wakeAll()
}

// Head returns the head, if there is one.
func (r *Result[H]) Head() (head H, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head, r.begun
}

// Write adds bytes.
func (r *Result[H]) Write(p []byte) (int, error) {
	r.mu.Lock()
	file, room := r.file, len(r.bytes)+len(p) <= r.inline
	if file == nil && room {
		r.hash.Write(p)
		r.bytes = append(r.bytes, p...)
		r.grow(len(p))
		r.mu.Unlock()
		return len(p), nil
	}
	r.mu.Unlock()
	if file == nil {
		if err := r.toFile(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	r.hash.Write(p[:n])
	r.mu.Lock()
	r.grow(n)
	r.mu.Unlock()
	return n, err
}

// toFile moves the bytes in memory to a file. Readers take them from memory until then.
func (r *Result[H]) toFile() error {
	file, err := r.newFile()
	if err != nil {
		return err
	}
	if _, err := file.Write(r.bytes); err != nil {
		_ = file.Close() // the error of the write is the reason
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file, r.bytes = file, nil
	return nil
}

// Size returns how many bytes there are, and whether they are all.
func (r *Result[H]) Size() (int64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size, r.ended && r.whole
}

// Readers returns how many readers follow the result, zero after its end.
func (r *Result[H]) Readers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return 0
	}
	return r.users - 1
}

// Seal makes the result durable. It returns the bytes if they are in no file. No write follows.
func (r *Result[H]) Seal() (inline []byte, sum [32]byte, err error) {
	r.hash.Sum(sum[:0])
	if r.file != nil {
		return nil, sum, r.file.Sync()
	}
	return append([]byte{}, r.bytes...), sum, nil
}

// End ends the result for its readers: it is whole, or it was cut short.
func (r *Result[H]) End(whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended, r.whole = true, whole
	r.wakeAll()
	r.leave()
}

// grow publishes n more bytes. The caller holds the lock.
func (r *Result[H]) grow(n int) {
	r.size += int64(n)
	r.wakeAll()
}

func (r *Result[H]) wakeAll() {
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// leave closes the file after its last user. The caller holds the lock.
func (r *Result[H]) leave() {
	r.users--
	if r.users == 0 && r.file != nil && !r.closed {
		r.closed = true
		_ = r.file.Close() // a complete result was synced before
	}
}

// wait returns a channel that the next change closes. The caller holds the lock.
func (r *Result[H]) wait() <-chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake
}

// Reader follows a result.
type Reader[H any] struct {
	result *Result[H]
	once   sync.Once
}

// Open returns a reader. It returns nil if the result has ended and was closed.
func (r *Result[H]) Open() *Reader[H] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == 0 {
		return nil
	}
	r.users++
	return &Reader[H]{result: r}
}

// Head waits for the head. It returns ErrNoHead if the attempt ends without one.
func (d *Reader[H]) Head(ctx context.Context) (head H, err error) {
	r := d.result
	for {
		r.mu.Lock()
		if r.begun || r.ended {
			head, begun := r.head, r.begun
			r.mu.Unlock()
			if !begun {
				return head, ErrNoHead
			}
			return head, nil
		}
		change := r.wait()
		r.mu.Unlock()
		if err := until(ctx, change); err != nil {
			return head, err
		}
	}
}

// ReadAt reads at least one byte, and waits for it.
func (d *Reader[H]) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	r := d.result
	for {
		r.mu.Lock()
		switch {
		case off < r.size && r.file == nil:
			n := copy(p, r.bytes[off:])
			r.mu.Unlock()
			return n, nil
		case off < r.size:
			file, n := r.file, min(int64(len(p)), r.size-off)
			r.mu.Unlock()
			return readFull(file, p[:n], off)
		case r.ended:
			whole := r.whole
			r.mu.Unlock()
			if whole {
				return 0, io.EOF
			}
			return 0, io.ErrUnexpectedEOF
		}
		change := r.wait()
		r.mu.Unlock()
		if err := until(ctx, change); err != nil {
			return 0, err
		}
	}
}

// readFull reads bytes that are there: the end of the file is no end of the result.
func readFull(file io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := file.ReadAt(p, off)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Size returns how many bytes there are, and whether they are all.
func (d *Reader[H]) Size() (int64, bool) { return d.result.Size() }

// Close ends the reader. Other methods must not be called again.
func (d *Reader[H]) Close() error {
	d.once.Do(func() {
		d.result.mu.Lock()
		defer d.result.mu.Unlock()
		d.result.leave()
	})
	return nil
}

func until(ctx context.Context, change <-chan struct{}) error {
	select {
	case <-change:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
