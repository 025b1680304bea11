package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ReadError reports that the source of a body failed, not the spool.
type ReadError struct {
	Err error
	// Short is true if the source has ended before its announced length, without an
	// error.
	Short bool
}

// Error describes the failure.
func (e *ReadError) Error() string { return fmt.Sprintf("reading the body: %v", e.Err) }

// Unwrap returns the source's error.
func (e *ReadError) Unwrap() error { return e.Err }

// End returns the error that the source ended with: io.EOF for a source that was too
// short.
func (e *ReadError) End() error {
	if e.Short {
		return io.EOF
	}
	return e.Err
}

// Body is a complete body, kept in memory and, beyond that, in a file. It can be read any
// number of times, also concurrently. The caller of ReadBody or ReadPart closes it.
type Body struct {
	size int64
	end  error // readers end with it instead of io.EOF, nil for io.EOF

	mu     sync.RWMutex // held for writing by Close and SetReadDeadline
	store  Store
	blocks []*Block
	readBy time.Time // when readers fail, zero for never
	closed bool
}

// ReadBody reads src, which may be [Owned] and a [Stopper], to its end. hint is the
// length if it is known, else -1. The error is a [*ReadError] if src failed or ended
// before its length, ErrTooLarge if the body is larger than bounds, ErrTooSlow if it
// comes too slowly, or wraps ErrFull; nothing is kept then.
func ReadBody(src io.Reader, hint int64, budget *Budget, bounds Bounds) (*Body, error) {
	b, err := ReadPart(src, hint, budget, bounds)
	if err != nil && b != nil {
		b.Close()
		return nil, err
	}
	return b, err
}

// ReadPart is ReadBody for a body whose beginning alone is useful: if src fails or is too
// slow, ReadPart returns the bytes before that together with the error. The caller may keep
// them, and then sets with [Body.EndWith] the error that readers get at the end.
func ReadPart(src io.Reader, hint int64, budget *Budget, bounds Bounds) (*Body, error) {
	if hint > bounds.Sum() {
		return nil, ErrTooLarge
	}
	source := src
	if hint < 0 { // on HTTP/3 that includes every request without a body
		start, err := firstPiece(src)
		if start == nil {
			return new(Body), err
		}
		src = io.MultiReader(start, src)
	}
	upload := budget.BeginUpload(source)
	if upload == nil {
		return nil, fmt.Errorf("%w: too many bodies are being read", ErrFull)
	}
	defer upload.End()
	b := new(Body)
	b.store.Init(budget, bounds, OfBody)
	b.store.member = &upload.member
	err := b.fill(src, hint, upload)
	_, failed := errors.AsType[*ReadError](err)
	switch {
	case err == nil:
		return b, nil
	case failed || errors.Is(err, ErrTooSlow):
		b.trim()
		return b, err
	}
	b.Close()
	return nil, err
}

// firstPiece waits for the start of a body, before anything is taken from the budget.
// It returns nil for an empty body.
func firstPiece(src io.Reader) (io.Reader, error) {
	piece := make([]byte, 512)
	switch n, err := io.ReadAtLeast(src, piece, 1); {
	case n > 0:
		return bytes.NewReader(piece[:n]), nil
	case errors.Is(err, io.EOF):
		return nil, nil
	default:
		return nil, &ReadError{Err: err}
	}
}

// fill reads the body directly into blocks in memory. After a body that fills its room
// exactly, one more read is needed to see its end.
func (b *Body) fill(src io.Reader, hint int64, upload *Upload) error {
	var buf *Buffer
	defer func() {
		if buf != nil {
			FreeBuffer(buf)
		}
	}()
	for {
		if hint > 0 && b.size == hint {
			return b.ended(src, ErrTooLarge)
		}
		tail, err := b.tail(hint)
		switch {
		case err != nil && hint > b.size: // more is sure to come, so the beginning is useless
			return err
		case err != nil:
			return b.ended(src, err)
		}
		into := tail.mem
		if into == nil {
			if buf == nil {
				buf = NewBuffer()
			}
			into = buf[:tail.room]
		}
		n, err := src.Read(into[tail.n:])
		if werr := b.keep(tail, into[tail.n:tail.n+n]); werr != nil {
			return werr
		}
		slow := upload.Took(n)
		switch {
		case errors.Is(err, io.EOF) && b.size < hint: // not every source checks this
			return &ReadError{Err: io.ErrUnexpectedEOF, Short: true}
		case errors.Is(err, io.EOF):
			b.trim()
			return nil
		case slow != nil: // the source may have failed because of that
			return slow
		case err != nil:
			return &ReadError{Err: err}
		}
	}
}

// tail returns the last block with room, or a new one.
func (b *Body) tail(hint int64) (*Block, error) {
	if n := len(b.blocks); n > 0 && b.blocks[n-1].Room() > 0 {
		return b.blocks[n-1], nil
	}
	block, err := b.store.Alloc(hint - b.size)
	if err == nil {
		b.blocks = append(b.blocks, block)
	}
	return block, err
}

// keep counts bytes that were read for a block, and writes them to the file if the block is
// in the file.
func (b *Body) keep(tail *Block, p []byte) error {
	if !tail.InMemory() {
		if _, err := b.store.Write(tail, p); err != nil {
			return err
		}
	}
	tail.Advance(len(p))
	b.size += int64(len(p))
	return nil
}

// ended checks that the source ends here. If another byte follows, the error is why.
func (b *Body) ended(src io.Reader, why error) error {
	var one [1]byte
	switch n, err := io.ReadFull(src, one[:]); {
	case n > 0:
		return why
	case errors.Is(err, io.EOF):
		return nil
	default:
		return &ReadError{Err: err}
	}
}

// trim gives unused room back.
func (b *Body) trim() {
	last := len(b.blocks) - 1
	if last < 0 {
		return
	}
	if b.blocks[last].Len() > 0 {
		b.store.Shrink(b.blocks[last])
		return
	}
	b.store.Free(b.blocks[last])
	b.blocks = b.blocks[:last]
}

// Broken returns the error because of which the body is in memory and not in a file, nil
// without one.
func (b *Body) Broken() error { return b.store.Broken() }

// Load moves the body into memory, in one piece that belongs to the body until Close. It
// waits until the budget has room for it. It fails with ErrFull when done is closed, or at
// once if the budget can never hold the piece. All readers must be closed before.
func (b *Body) Load(done <-chan struct{}) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.blocks) == 0 {
		return nil, nil
	}
	if len(b.blocks) == 1 && b.blocks[0].InMemory() {
		return b.blocks[0].mem[:b.size], nil
	}
	if err := b.store.await(b.size, done); err != nil {
		return nil, err
	}
	whole, at := make([]byte, b.size), 0
	for _, block := range b.blocks {
		got, err := b.store.Read(block, 0, block.Len(), whole[at:])
		if err != nil {
			return nil, err
		}
		at += copy(whole[at:], got)
	}
	for _, block := range b.blocks {
		b.store.drop(block)
	}
	b.store.closeFile()
	b.blocks = []*Block{{mem: whole, room: len(whole), n: len(whole)}}
	return whole, nil
}

// Size returns the body's length in bytes.
func (b *Body) Size() int64 { return b.size }

// EndWith makes readers end with err instead of io.EOF, because the body is not
// complete. It is called before the first reader, and may set io.EOF for a body that is
// too short.
func (b *Body) EndWith(err error) { b.end = err }

// Err returns the error that readers end with if the body is not complete, else nil.
func (b *Body) Err() error { return b.end }

// SetReadDeadline makes all readers fail from t on, with [os.ErrDeadlineExceeded]. The
// zero value removes the deadline. It may be called from any goroutine.
func (b *Body) SetReadDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readBy = t
}

// Open returns a reader that starts at the first byte. Closing it is optional.
func (b *Body) Open() io.ReadCloser { return &bodyReader{body: b} }

// Close releases memory and file. Open readers fail from then on. A transport that still
// sends the body when its handler has ended must be prepared for that.
func (b *Body) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, block := range b.blocks {
		b.store.Free(block)
	}
	b.blocks, b.closed = nil, true
	b.store.Close()
}

type bodyReader struct {
	body   *Body
	read   int64
	block  int // index of the block with the next byte
	offset int
	closed atomic.Bool // a transport may close while it reads
}

// Read copies the next bytes of the body.
func (r *bodyReader) Read(p []byte) (int, error) {
	r.body.mu.RLock()
	defer r.body.mu.RUnlock()
	switch {
	case r.closed.Load() || r.body.closed:
		return 0, fs.ErrClosed
	case !r.body.readBy.IsZero() && !time.Now().Before(r.body.readBy):
		return 0, os.ErrDeadlineExceeded
	case r.read == r.body.size:
		return 0, r.body.ending()
	case len(p) == 0:
		return 0, nil
	}
	b := r.body.blocks[r.block]
	to := min(r.offset+len(p), b.Len())
	got, err := r.body.store.Read(b, r.offset, to, p)
	if err != nil {
		return 0, err
	}
	n := copy(p, got) // in the file's case got is p
	r.read += int64(n)
	r.offset += n
	if r.offset == b.Len() {
		r.block, r.offset = r.block+1, 0
	}
	return n, nil
}

func (b *Body) ending() error {
	if b.end != nil {
		return b.end
	}
	return io.EOF
}

// Close ends the reader.
func (r *bodyReader) Close() error {
	r.closed.Store(true)
	return nil
}
