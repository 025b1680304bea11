package live_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/live"
)

// file is a file in memory.
type file struct {
	mu     sync.Mutex
	data   []byte
	synced int
	closed int
	fail   error
}

func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return 0, f.fail
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed > 0 {
		return 0, errors.New("it is closed")
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *file) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced = len(f.data)
	return nil
}

func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

// all reads a result to its end.
func all(ctx context.Context, r *live.Reader[string]) ([]byte, error) {
	var got []byte
	p := make([]byte, 700)
	for {
		n, err := r.ReadAt(ctx, p, int64(len(got)))
		got = append(got, p[:n]...)
		if err != nil {
			return got, err
		}
		if n == 0 {
			return got, errors.New("a read of nothing")
		}
	}
}

// Readers that come at any time read all bytes, in memory and in the file, and the file is
// closed after the last of them.
func TestReadersReadAllBytes(t *testing.T) {
	for _, whole := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := &file{}
			r := live.New[string](1000, func() (live.File, error) { return f, nil })
			want := make([]byte, 20_000)
			for i := range want {
				want[i] = byte(rand.Uint32())
			}
			end := io.ErrUnexpectedEOF
			if whole {
				end = io.EOF
			}
			var wait sync.WaitGroup
			for range 20 {
				delay := time.Duration(rand.IntN(60)) * time.Second
				wait.Go(func() {
					<-time.After(delay)
					reader := r.Open()
					if reader == nil {
						return // it has ended, and its last reader has gone
					}
					defer reader.Close()
					if head, err := reader.Head(t.Context()); head != "head" || err != nil {
						t.Errorf("head '%s': %v", head, err)
					}
					if got, err := all(t.Context(), reader); !errors.Is(err, end) || !bytes.Equal(got, want) {
						t.Errorf("%d bytes: %v", len(got), err)
					}
				})
			}
			<-time.After(time.Second)
			r.Begin("head")
			for at := 0; at < len(want); {
				n := min(rand.IntN(700)+1, len(want)-at)
				if _, err := r.Write(want[at : at+n]); err != nil {
					t.Fatal(err)
				}
				at += n
				<-time.After(time.Second)
			}
			inline, sum, err := r.Seal()
			if inline != nil || sum != sha256.Sum256(want) || err != nil || f.synced != len(want) {
				t.Fatal(len(inline), sum, err, f.synced)
			}
			r.End(whole)
			r.End(!whole)
			wait.Wait()
			if size, complete := r.Size(); size != int64(len(want)) || complete != whole || f.closed != 1 {
				t.Fatal(size, complete, f.closed)
			}
			if r.Open() != nil {
				t.Fatal("a closed result is opened")
			}
		})
	}
}

func TestASmallResultNeedsNoFile(t *testing.T) {
	r := live.New[string](10, func() (live.File, error) { return nil, errors.New("a file") })
	if _, err := r.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	inline, sum, err := r.Seal()
	if string(inline) != "0123456789" || sum != sha256.Sum256(inline) || err != nil {
		t.Fatal(inline, sum, err)
	}
	if n, err := r.Write([]byte("x")); n != 0 || err == nil {
		t.Fatal("a write without a file has succeeded")
	}
}

func TestAFileThatFailsHidesNoBytes(t *testing.T) {
	full := errors.New("full")
	f := &file{fail: full}
	r := live.New[string](4, func() (live.File, error) { return f, nil })
	_, _ = r.Write([]byte("abcd"))
	if _, err := r.Write([]byte("e")); !errors.Is(err, full) || f.closed != 1 {
		t.Fatal(err, f.closed)
	}
	reader := r.Open()
	defer reader.Close()
	r.End(false)
	if got, err := all(t.Context(), reader); string(got) != "abcd" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(string(got), err)
	}
	if _, err := reader.Head(t.Context()); !errors.Is(err, live.ErrNoHead) {
		t.Fatal(err)
	}
}

func TestAReaderLeavesWithItsContext(t *testing.T) {
	r := live.New[string](4, nil)
	reader := r.Open()
	defer reader.Close()
	left := errors.New("left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(left)
	if _, err := reader.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, left) {
		t.Fatal(err)
	}
	if _, err := reader.Head(ctx); !errors.Is(err, left) {
		t.Fatal(err)
	}
	r.End(true)
}
