package memory

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// file is a file of the disk. Readers that hold it read on after its removal.
type file struct {
	mu     sync.RWMutex
	data   []byte
	synced int // how many bytes survive the end of the machine
}

func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *file) Size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return int64(len(f.data))
}

func (f *file) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced = len(f.data)
}

func (f *file) cut(keep func(unsynced int) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = f.data[:f.synced+keep(len(f.data)-f.synced)]
	f.synced = len(f.data)
}

// NewBody begins a body.
func (e *Engine) NewBody(ctx context.Context) (jobs.BodyWriter, error) {
	err := e.call(ctx, "NewBody", jobs.ID{}, func() error { return nil })
	if err != nil {
		return nil, err
	}
	return &bodyWriter{engine: e}, nil
}

// bodyWriter keeps a body in memory until it is too long, and then in a file.
type bodyWriter struct {
	engine *Engine
	inline []byte
	size   int64
	name   string // of the file
	file   *file
	ended  bool
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	err := w.engine.call(context.Background(), "BodyWriter.Write", jobs.ID{}, func() error {
		if w.ended {
			return os.ErrClosed
		}
		w.size += int64(len(p))
		if w.size <= jobs.InlineBytes {
			w.inline = append(w.inline, p...)
			return nil
		}
		if w.file == nil {
			w.name, w.file = w.engine.disk.create()
			_, _ = w.file.Write(w.inline)
			w.inline = nil
		}
		_, _ = w.file.Write(p)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *bodyWriter) End() (jobs.Body, error) {
	err := w.engine.call(context.Background(), "BodyWriter.End", jobs.ID{}, func() error {
		if w.ended {
			return os.ErrClosed
		}
		w.ended = true
		if w.file != nil {
			w.file.sync()
		}
		return nil
	})
	if err != nil {
		return jobs.Body{}, err
	}
	return jobs.Body{Inline: w.inline, File: w.name, Size: w.size}, nil
}

func (w *bodyWriter) Discard() {
	d := w.engine.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if !w.ended {
		w.ended = true
		delete(d.files, w.name)
	}
}

// Body opens the body of a record.
func (e *Engine) Body(ctx context.Context, r *jobs.Record) (body io.ReadCloser, err error) {
	err = e.call(ctx, "Body", r.ID, func() error {
		j, err := e.disk.find(r.ID)
		if err != nil {
			return err
		}
		if j.body.File == "" {
			body = io.NopCloser(bytes.NewReader(j.body.Inline))
			return nil
		}
		f, ok := e.disk.files[j.body.File]
		if !ok {
			return jobs.ErrBroken
		}
		body = io.NopCloser(io.NewSectionReader(f, 0, f.Size()))
		return nil
	})
	return orNil(body, err)
}

// NewResult begins a file for a result.
func (e *Engine) NewResult(ctx context.Context, id jobs.ID, generation, number int) (result jobs.ResultFile, err error) {
	err = e.call(ctx, "NewResult", id, func() error {
		j, err := e.disk.find(id)
		if err != nil {
			return err
		}
		f := &file{}
		clear(j.results)
		j.results[attempt{generation, number}] = f
		result = &resultFile{engine: e, id: id, file: f}
		return nil
	})
	return orNil(result, err)
}

// resultFile is a file for a result while it is written. The lock of the disk protects closed.
type resultFile struct {
	engine *Engine
	id     jobs.ID
	file   *file
	closed bool
}

// call runs f if the file is not closed.
func (r *resultFile) call(method string, f func() error) error {
	return r.engine.call(context.Background(), "ResultFile."+method, r.id, func() error {
		if r.closed {
			return os.ErrClosed
		}
		return f()
	})
}

func (r *resultFile) Write(p []byte) (n int, err error) {
	err = r.call("Write", func() error {
		limit := r.engine.options.Limit
		if limit > 0 && r.engine.disk.bytes()+r.file.Size()+int64(len(p)) > limit {
			return jobs.ErrFull
		}
		n, err = r.file.Write(p)
		return err
	})
	return orNil(n, err)
}

func (r *resultFile) ReadAt(p []byte, off int64) (n int, err error) {
	end := r.call("ReadAt", func() error {
		n, err = r.file.ReadAt(p, off)
		return nil
	})
	if end != nil {
		return 0, end
	}
	return n, err
}

func (r *resultFile) Sync() error {
	return r.call("Sync", func() error {
		r.file.sync()
		return nil
	})
}

func (r *resultFile) Close() error {
	return r.call("Close", func() error {
		r.closed = true
		return nil
	})
}

// Result opens a complete result.
func (e *Engine) Result(ctx context.Context, r *jobs.Record) (result jobs.ResultReader, err error) {
	err = e.call(ctx, "Result", r.ID, func() error {
		if r.Response == nil || !r.Response.Complete {
			return jobs.ErrNoResult
		}
		j, err := e.disk.find(r.ID)
		if err != nil {
			return err
		}
		f := j.results[attempt{r.Generation, r.Attempt}]
		switch {
		case r.Response.Size == 0:
			f = &file{}
		case f == nil:
			f = &file{data: j.inline}
		}
		if f.Size() != r.Response.Size {
			return jobs.ErrBroken
		}
		result = resultReader{f}
		return nil
	})
	return orNil(result, err)
}

type resultReader struct{ *file }

func (resultReader) Close() error { return nil }
