package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// bodyWriter keeps a small body in memory, and a larger one in a file.
type bodyWriter struct {
	e     *Engine
	small []byte
	file  *os.File
	w     io.Writer
	size  int64
	ended bool
}

// NewBody begins a body.
func (e *Engine) NewBody(context.Context) (jobs.BodyWriter, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.life.RUnlock()
	if err := e.room.forAccept(0); err != nil {
		return nil, err
	}
	return &bodyWriter{e: e}, nil
}

func (b *bodyWriter) Write(p []byte) (int, error) {
	if b.file == nil && len(b.small)+len(p) <= jobs.InlineBytes {
		b.small = append(b.small, p...)
		b.size += int64(len(p))
		return len(p), nil
	}
	if b.file == nil {
		var random [16]byte
		rand.Read(random[:])
		var err error
		if b.file, b.w, err = b.e.files.create(hex.EncodeToString(random[:]) + ".part"); err != nil {
			return 0, err
		}
		small := b.small
		b.small, b.size = nil, 0
		if err := b.store(small); err != nil {
			return 0, err
		}
	}
	if err := b.store(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (b *bodyWriter) store(p []byte) error {
	n := int64(len(p))
	if err := b.e.room.take(n); err != nil {
		return err
	}
	b.size += n
	_, err := b.w.Write(p)
	return full(err)
}

// End makes the body durable.
func (b *bodyWriter) End() (jobs.Body, error) {
	if b.file == nil {
		b.ended = true
		return jobs.Body{Inline: b.small, Size: b.size}, nil
	}
	if err := flush(b.file, b.w); err != nil {
		return jobs.Body{}, err
	}
	b.ended = true
	return jobs.Body{File: filepath.Base(b.file.Name()), Size: b.size}, b.file.Close()
}

// Discard removes the body.
func (b *bodyWriter) Discard() {
	if b.ended || b.file == nil {
		return
	}
	b.ended = true
	b.file.Close()
	b.e.files.discard(jobs.Body{File: b.file.Name(), Size: b.size})
}

// Body opens the body of a record.
func (e *Engine) Body(_ context.Context, r *jobs.Record) (io.ReadCloser, error) {
	inline, h, err := e.stored(r.ID, bodyTable, bodyInline)
	switch {
	case err != nil:
		return nil, err
	case h.flags&bodyInFile == 0:
		return io.NopCloser(bytes.NewReader(inline)), nil
	}
	f, err := e.files.read(r.ID, bodyName(r.ID), h.bodySize)
	if err != nil {
		return nil, err
	}
	if plain, ok := f.(plainFile); ok {
		return plain, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, f.Size()), f}, nil
}

// stored returns the head of a record, and small bytes if it has that flag.
func (e *Engine) stored(id jobs.ID, t table, inline flags) (b []byte, h head, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		get := reader(tx)
		value, _ := find(get, id[:])
		if value == nil {
			return jobs.ErrUnknown
		}
		if h, err = readHead(value); err != nil {
			return e.damaged(id[:], err)
		}
		h.key = nil // belongs to the transaction
		if h.flags&inline != 0 {
			b, err = e.unseal(id[:], get(t, id[:]), t)
		}
		return err
	})
	return b, h, err
}

// resultFile is the result of an attempt in a file.
type resultFile struct {
	e       *Engine
	attempt attempt
	file    *os.File
	w       io.Writer
	reader  io.ReaderAt
	named   sync.Once    // its name is durable
	counted atomic.Int64 // bytes that no record has
	dropped atomic.Bool  // it is no longer in files.results
}

// drop counts the bytes of the file no longer.
func (f *resultFile) drop() {
	f.dropped.Store(true)
	f.e.room.give(f.counted.Swap(0))
}

// NewResult begins a file for the result of an attempt.
func (e *Engine) NewResult(_ context.Context, id jobs.ID, generation, number int) (jobs.ResultFile, error) {
	_, h, err := e.stored(id, resultTable, 0)
	if err != nil {
		return nil, err
	}
	e.files.dropResults(id, attempt{})
	if h.flags&resultInFile != 0 {
		e.files.remove(resultName(id, h.result))
	}
	f := &resultFile{e: e, attempt: attempt{uint32(generation), uint32(number)}}
	name := resultName(id, f.attempt)
	e.files.remove(name)
	if f.file, f.w, err = e.files.create(name); err != nil {
		return nil, err
	}
	f.reader = f.w.(io.ReaderAt)
	e.files.mu.Lock()
	e.files.results[id] = append(e.files.results[id], f)
	e.files.mu.Unlock()
	return f, nil
}

func (f *resultFile) Write(p []byte) (int, error) {
	if err := f.e.room.take(int64(len(p))); err != nil {
		return 0, err
	}
	f.counted.Add(int64(len(p)))
	n, err := f.w.Write(p)
	return n, full(err)
}

func (f *resultFile) ReadAt(p []byte, off int64) (int, error) { return f.reader.ReadAt(p, off) }

// Sync makes the name of the file durable too.
func (f *resultFile) Sync() error {
	err := flush(f.file, f.w)
	f.named.Do(func() {
		if err == nil {
			err = f.e.files.syncFolder()
		}
	})
	return err
}

func (f *resultFile) Close() error {
	if f.dropped.Load() { // while it was written
		f.drop()
	}
	return f.file.Close()
}

// Result opens the result of a record.
func (e *Engine) Result(_ context.Context, r *jobs.Record) (jobs.ResultReader, error) {
	if r.Response == nil || !r.Response.Complete {
		return nil, jobs.ErrNoResult
	}
	inline, h, err := e.stored(r.ID, resultTable, resultInline)
	switch {
	case err != nil:
		return nil, err
	case h.result != attemptOf(r) && h.flags&(resultInline|resultInFile) != 0:
		return nil, jobs.ErrNoResult
	case h.flags&resultInFile != 0:
		return e.files.read(r.ID, resultName(r.ID, h.result), h.resultSize)
	}
	return memoryResult{bytes.NewReader(inline)}, nil
}

// memoryResult is a small result.
type memoryResult struct{ *bytes.Reader }

func (memoryResult) Close() error { return nil }
