package spool

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// BlockSize is the unit of memory and file space, in bytes. It is also the size of Caddy's
// largest write to a TLS or TCP connection.
const BlockSize = 64 << 10

// Bounds of one body, in bytes.
type Bounds struct {
	// Memory is used first, then File. Zero: unused.
	Memory, File int64
}

// Sum is the largest body that fits.
func (b Bounds) Sum() int64 { return b.Memory + b.File }

// Buffer is memory for one block.
type Buffer = [BlockSize]byte

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// NewBuffer returns a buffer with arbitrary content. It is not part of the budget:
// callers give it back soon, with FreeBuffer.
func NewBuffer() *Buffer { return buffers.Get().(*Buffer) }

// FreeBuffer gives a buffer back.
func FreeBuffer(b *Buffer) { buffers.Put(b) }

// Block is a piece of a body: in memory, or in the store's file. It only grows: its
// bytes may be read while more are written behind them.
type Block struct {
	mem    []byte  // nil for a block in the file
	pooled *Buffer // the origin of mem, nil if it was allocated in its exact size
	lent   bool    // outside of bounds and budget
	index  int64   // block number in the file
	room   int     // size
	n      int     // bytes in the block
}

// Len returns the number of bytes in the block.
func (b *Block) Len() int { return b.n }

// Room returns the number of bytes that still fit.
func (b *Block) Room() int { return b.room - b.n }

// Advance counts n more bytes that were written.
func (b *Block) Advance(n int) { b.n += n }

// InMemory reports whether writing to the block is only a copy.
func (b *Block) InMemory() bool { return b.mem != nil }

// Store hands out blocks within the bounds of one body and the budget of the process.
// It has no lock: its owner calls it from one goroutine at a time, except for Write and
// Read, which may run concurrently with the rest.
type Store struct {
	budget *Budget
	bounds Bounds
	holder Holder
	owned  Owned
	member *member // nil before anything was taken
	memory int64   // taken of bounds.Memory
	disk   int64   // taken of bounds.File
	file   file
	broken error // the file's error, after which no new block is in the file
}

// Init makes a zero Store an empty one without an owner.
func (s *Store) Init(b *Budget, bounds Bounds, h Holder) { s.budget, s.bounds, s.holder = b, bounds, h }

// BelongTo sets the owner of a store without blocks, nil for none.
func (s *Store) BelongTo(o Owned) { s.owned = o }

var errSpent = fmt.Errorf("%w: the limit of the process, or of one client or pool, is reached", ErrFull)

// Alloc returns a new block: in memory if there is room, else in the file. hint is the
// number of bytes to come, as far as it is known; zero or less means many. If the
// folder cannot be used, memory replaces the file. The error is ErrTooLarge if the
// bounds are used up, and wraps ErrFull if the budget is used up or the file cannot be
// used.
func (s *Store) Alloc(hint int64) (*Block, error) {
	if b := s.AllocMemory(hint); b != nil {
		return b, nil
	}
	bounds := s.bounds
	b, err := s.allocFile()
	switch {
	case s.bounds != bounds: // it has no file
		return s.Alloc(hint)
	case !errors.Is(err, ErrTooLarge) || s.memory >= s.bounds.Memory:
		return b, err
	case s.broken != nil:
		return nil, s.broken
	}
	return nil, errSpent // its own bounds would have had room
}

// AllocMemory is Alloc without the file. It returns nil if there is no memory.
func (s *Store) AllocMemory(hint int64) *Block {
	size := min(BlockSize, s.bounds.Memory-s.memory)
	if hint > 0 {
		size = min(size, hint)
	}
	if size <= 0 || !s.take(memory, size) {
		return nil
	}
	s.memory += size
	b := &Block{room: int(size)}
	if size > BlockSize/2 {
		b.pooled = NewBuffer()
		b.mem = b.pooled[:size]
	} else {
		b.mem = make([]byte, size)
	}
	return b
}

// Lend returns a full block with the beginning of p, beyond all bounds and the budget, to
// pass bytes on that cannot be kept. The caller waits until they are read and frees the
// block then, or until Settle counts it.
func (s *Store) Lend(p []byte) *Block {
	b := &Block{lent: true, pooled: NewBuffer()}
	b.mem = b.pooled[:]
	b.n = copy(b.mem, p)
	b.room = b.n
	return b
}

// Settle counts a lent block within the bounds and the budget. It returns false if there is
// no room for it.
func (s *Store) Settle(b *Block) bool {
	size := int64(b.room)
	if s.memory+size > s.bounds.Memory || !s.take(memory, size) {
		return false
	}
	s.memory += size
	b.lent = false
	return true
}

// take takes n of the budget's memory or disk.
func (s *Store) take(r resource, n int64) bool {
	if s.member == nil {
		s.member = &member{holder: s.holder, owned: s.owned}
	}
	return s.budget.take(s.member, ask{of: r, n: n, small: s.memory+s.disk+n <= BlockSize})
}

func (s *Store) allocFile() (*Block, error) {
	size := min(BlockSize, s.bounds.File-s.disk)
	switch {
	case size <= 0:
		return nil, ErrTooLarge
	case s.broken != nil:
		return nil, s.broken
	}
	index, reused := s.file.reuse()
	if !reused {
		if !s.take(disk, BlockSize) {
			return nil, errSpent
		}
		if s.file.f == nil {
			if err := s.file.create(s.budget.Limits().Dir); err != nil {
				s.budget.give(s.member, disk, BlockSize)
				if lasts(err) {
					s.bounds = Bounds{Memory: s.bounds.Sum()}
				}
				return nil, s.fail(err)
			}
		}
		index = s.file.grow()
	}
	s.disk += size
	return &Block{index: index, room: int(size)}, nil
}

// Broken returns the error that makes the file unusable, nil if it can be used.
func (s *Store) Broken() error { return s.broken }

// fail marks the file as unusable, as on a full disk.
func (s *Store) fail(err error) error {
	s.broken = fmt.Errorf("%w: %w", ErrFull, err)
	return s.broken
}

// Write writes as much of p as the block has room for and returns how much. The block
// counts these bytes only with Advance, which the owner calls under the lock of its
// readers; Write itself may run concurrently with them.
func (s *Store) Write(b *Block, p []byte) (int, error) {
	p = p[:min(len(p), b.Room())]
	if b.mem != nil {
		return copy(b.mem[b.n:], p), nil
	}
	if _, err := s.file.f.WriteAt(p, b.index*BlockSize+int64(b.n)); err != nil {
		return 0, s.fail(err)
	}
	return len(p), nil
}

// Read returns the bytes from..to of the block. Bytes from the file are in buf, which must
// be large enough.
func (s *Store) Read(b *Block, from, to int, buf []byte) ([]byte, error) {
	if b.mem != nil {
		return b.mem[from:to], nil
	}
	buf = buf[:to-from]
	_, err := s.file.f.ReadAt(buf, b.index*BlockSize+int64(from))
	if errors.Is(err, io.EOF) { // the file has lost bytes: this is no end of a body
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("reading a spool file: %w", err)
	}
	return buf, nil
}

// Shrink gives back the unused part of a block to which nothing more will be written.
func (s *Store) Shrink(b *Block) {
	if b.mem == nil || b.Room() < BlockSize/2 {
		return
	}
	unused := int64(b.Room())
	exact := make([]byte, b.n)
	copy(exact, b.mem)
	s.recycle(b)
	b.mem, b.room = exact, b.n
	s.memory -= unused
	s.budget.give(s.member, memory, unused)
}

// Seal ends a block when writing to the file has failed: the bytes of the block stay, and
// the next ones go to another block.
func (s *Store) Seal(b *Block) {
	if b.mem == nil {
		s.disk -= int64(b.Room())
		b.room = b.n
	}
}

// Free gives a block back. The block must not be used after that.
func (s *Store) Free(b *Block) {
	kept := b.InMemory() && !b.lent
	s.drop(b)
	if kept {
		s.memory -= int64(b.room)
		s.budget.give(s.member, memory, int64(b.room))
	}
}

// await takes memory for all blocks in one piece, beyond the bounds. Memory of blocks that
// are in memory already is part of it.
func (s *Store) await(size int64, done <-chan struct{}) error {
	more := size - s.memory
	if more <= 0 {
		s.memory = size
		s.budget.give(s.member, memory, -more)
		return nil
	}
	want := ask{of: memory, n: more, small: size <= BlockSize}
	for s.budget.couldFit(s.member, want) {
		freed := s.budget.Freed()
		if s.budget.take(s.member, want) {
			s.memory = size
			return nil
		}
		select {
		case <-freed:
		case <-done:
			return errSpent
		}
	}
	return errSpent
}

// drop gives a block back, but leaves its memory counted in the budget.
func (s *Store) drop(b *Block) {
	if b.mem == nil {
		// The file keeps its size, so the budget stays taken until Close.
		s.file.release(b.index)
		s.disk -= int64(b.room)
		return
	}
	s.recycle(b)
}

func (s *Store) recycle(b *Block) {
	if b.pooled != nil {
		FreeBuffer(b.pooled)
	}
	b.mem, b.pooled = nil, nil
}

// closeFile gives the file back.
func (s *Store) closeFile() {
	s.file.close()
	if s.file.blocks > 0 {
		s.budget.give(s.member, disk, s.file.blocks*BlockSize)
		s.file.blocks = 0
	}
}

// Close gives back the file and the budget. Blocks in memory must have been freed before.
func (s *Store) Close() {
	s.closeFile()
	if s.memory > 0 { // for one piece that was not made
		s.budget.give(s.member, memory, s.memory)
		s.memory = 0
	}
}
