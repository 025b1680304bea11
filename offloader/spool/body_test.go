package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Bodies of all sizes around each boundary come out as they went in, or are too
// large.
func TestBodiesOfAllSizes(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]spool.Bounds{
		"memory and file":             {Memory: 2 * block, File: 2 * block},
		"bounds within a block":       {Memory: block + 100, File: block + 10},
		"less than a block of each":   {Memory: 1000, File: 500},
		"memory alone":                {Memory: 3 * block},
		"a file alone":                {File: 3*block + 1},
		"nothing":                     {},
		"memory of less than a block": {Memory: block - 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, sum := int(bounds.Memory), int(bounds.Sum())
			for _, size := range []int{
				0, 1, block/2 - 1, block / 2, block/2 + 1, block - 1, block, block + 1, 2*block - 1, 2 * block, 2*block + 1,
				m - 1, m, m + 1, m + block - 1, m + block, m + block + 1, sum - 1, sum, sum + 1, sum + block,
			} {
				for _, known := range []bool{true, false} {
					if size >= 0 {
						checkBody(t, bounds, size, known)
					}
				}
			}
		})
	}
}

func checkBody(t *testing.T, bounds spool.Bounds, size int, known bool) {
	t.Helper()
	what := fmt.Sprintf("%d bytes, known %t", size, known)
	budget, want := roomy(t), bytesOf(size)
	hint := int64(-1)
	if known {
		hint = int64(size)
	}
	body, err := spool.ReadBody(bytes.NewReader(want), hint, budget, bounds)
	if int64(size) > bounds.Sum() {
		if !errors.Is(err, spool.ErrTooLarge) || body != nil {
			t.Errorf("%s: error %v, want %v", what, err, spool.ErrTooLarge)
		}
		wantUsage(t, budget, spool.Usage{})
		return
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer body.Close()
	if got := body.Size(); got != int64(size) {
		t.Errorf("%s: size is %d", what, got)
	}
	got, err := io.ReadAll(body.Open())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: read %d bytes, error %v", what, len(got), err)
	}
	checkUsage(t, what, budget.Usage(), bounds, size)
}

// checkUsage checks that memory is used first, and not much more of it than the
// body has bytes.
func checkUsage(t *testing.T, what string, used spool.Usage, bounds spool.Bounds, size int) {
	t.Helper()
	inMemory := min(int64(size), bounds.Memory)
	inFile := int64(size) - inMemory
	if used.Memory < inMemory || used.Memory > min(bounds.Memory, inMemory+block/2) {
		t.Errorf("%s: %d bytes of memory are used", what, used.Memory)
	}
	if blocks := (inFile + block - 1) / block; used.Disk < blocks*block || used.Disk > (blocks+1)*block {
		t.Errorf("%s: %d bytes of disk are used", what, used.Disk)
	}
	if used.Uploads != 0 {
		t.Errorf("%s: %d uploads go on", what, used.Uploads)
	}
}

// A body of known length that fits into memory takes just that.
func TestSmallBodiesTakeNoMoreThanTheyNeed(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 100, block / 2, block/2 + 1, block, block + 100} {
		budget := roomy(t)
		body, err := spool.ReadBody(bytes.NewReader(bytesOf(size)), int64(size), budget, spool.Bounds{Memory: 4 * block})
		if err != nil {
			t.Fatal(err)
		}
		wantUsage(t, budget, spool.Usage{Memory: int64(size)})
		body.Close()
	}
	budget := roomy(t)
	body, err := spool.ReadBody(bytes.NewReader(bytesOf(100)), -1, budget, spool.Bounds{Memory: 4 * block})
	if err != nil {
		t.Fatal(err)
	}
	wantUsage(t, budget, spool.Usage{Memory: 100})
	body.Close()
}

// A body of unknown length may turn out to be none. It takes nothing, so nothing
// can reject it.
func TestEmptyBodiesTakeNothing(t *testing.T) {
	t.Parallel()
	budget := budgetOf(t, spool.Limits{Disk: block})
	body, err := spool.ReadBody(bytes.NewReader(nil), -1, budget, spool.Bounds{Memory: block, File: block})
	if err != nil {
		t.Fatal(err)
	}
	wantUsage(t, budget, spool.Usage{})
	if got, err := io.ReadAll(body.Open()); len(got) > 0 || err != nil || body.Size() != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	body.Close()
}

func TestSourcesOfBodies(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	bounds := spool.Bounds{Memory: block, File: block}
	for name, test := range map[string]struct {
		size   int
		source func(r io.Reader) io.Reader
		hint   int64
		fails  error
	}{
		"one byte at a time":                  {block + 10, iotest.OneByteReader, -1, nil},
		"one byte at a time, of known length": {block + 10, iotest.OneByteReader, block + 10, nil},
		"the end comes with the last bytes":   {block + 10, iotest.DataErrReader, -1, nil},
		"and just at a boundary":              {2 * block, iotest.DataErrReader, -1, nil},
		"half of what is asked for":           {2 * block, iotest.HalfReader, -1, nil},
		"it is shorter than announced":        {10, func(r io.Reader) io.Reader { return r }, 100, io.ErrUnexpectedEOF},
		"it is nothing of what was announced": {0, func(r io.Reader) io.Reader { return r }, 100, io.ErrUnexpectedEOF},
		"it is longer than announced":         {101, func(r io.Reader) io.Reader { return r }, 100, spool.ErrTooLarge},
		"it fails at once":                    {0, func(io.Reader) io.Reader { return iotest.ErrReader(broken) }, -1, broken},
		"it fails at once, of known length":   {0, func(io.Reader) io.Reader { return iotest.ErrReader(broken) }, 10, broken},
		"it fails after some bytes":           {100, fails(broken), -1, broken},
		"it fails in the file":                {block + 100, fails(broken), -1, broken},
		"it fails after the announced bytes":  {100, fails(broken), 100, broken},
		"it fails after the largest body":     {2 * block, fails(broken), -1, broken},
		"it is cut":                           {100, fails(io.ErrUnexpectedEOF), -1, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := bytesOf(test.size)
			body, err := spool.ReadBody(test.source(bytes.NewReader(want)), test.hint, roomy(t), bounds)
			if !errors.Is(err, test.fails) {
				t.Fatalf("error %v, want %v", err, test.fails)
			}
			if err != nil {
				checkReadError(t, err, test.fails)
				return
			}
			defer body.Close()
			got, err := io.ReadAll(body.Open())
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, error %v", len(got), err)
			}
		})
	}
}

// fails makes a source that fails instead of ending.
func fails(err error) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(err)) }
}

// checkReadError checks that the source is named as the culprit, and only it.
func checkReadError(t *testing.T, err, cause error) {
	t.Helper()
	var read *spool.ReadError
	ours := errors.Is(cause, spool.ErrTooLarge)
	if errors.As(err, &read) == ours {
		t.Errorf("error is %#v", err)
	}
	if read != nil && err.Error() != "reading the body: "+cause.Error() {
		t.Errorf("error says %q", err)
	}
}

func TestReadersOfBodies(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*spool.Body, []byte) {
		t.Helper()
		want := bytesOf(3*block + 10)
		body, err := spool.ReadBody(bytes.NewReader(want), -1, roomy(t), spool.Bounds{Memory: 2 * block, File: 2 * block})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(body.Close)
		return body, want
	}
	t.Run("read it again and again", func(t *testing.T) {
		t.Parallel()
		body, want := setup(t)
		for range 3 {
			if err := iotest.TestReader(body.Open(), want); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("read at once, each in its own steps", func(t *testing.T) {
		t.Parallel()
		body, want := setup(t)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				step := make([]byte, 1+i*10_000)
				var got []byte
				for r := body.Open(); ; {
					n, err := r.Read(step)
					got = append(got, step[:n]...)
					if err != nil {
						if !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
							t.Errorf("reader %d: %d bytes, error %v", i, len(got), err)
						}
						return
					}
				}
			})
		}
		all.Wait()
	})
	t.Run("fail once they are closed", func(t *testing.T) {
		t.Parallel()
		body, want := setup(t)
		r, other := body.Open(), body.Open()
		if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("read %d, %v", n, err)
		}
		if got, err := io.ReadAll(other); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the other one: %d bytes, %v", len(got), err)
		}
	})
	t.Run("fail once the body is closed", func(t *testing.T) {
		t.Parallel()
		body, _ := setup(t)
		r, atEnd := body.Open(), body.Open()
		if _, err := io.ReadAll(atEnd); err != nil {
			t.Fatal(err)
		}
		body.Close()
		body.Close() // does nothing
		for _, r := range []io.Reader{r, atEnd, body.Open()} {
			if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, fs.ErrClosed) {
				t.Errorf("read %d, %v", n, err)
			}
		}
	})
	t.Run("may still read when the body is closed", func(t *testing.T) {
		t.Parallel()
		for range 50 {
			want := bytesOf(block + block/2)
			body, err := spool.ReadBody(bytes.NewReader(want), -1, roomy(t), spool.Bounds{Memory: block, File: block})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			all.Go(func() {
				got, err := io.ReadAll(body.Open())
				if !bytes.Equal(got, want[:len(got)]) || (err != nil && !errors.Is(err, fs.ErrClosed)) {
					t.Errorf("read %d bytes, error %v", len(got), err)
				}
			})
			body.Close()
			all.Wait()
		}
	})
	t.Run("want nothing and get nothing", func(t *testing.T) {
		t.Parallel()
		body, _ := setup(t)
		if n, err := body.Open().Read(nil); n != 0 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

// The beginning of a body is kept where it is useful, in memory or in a file,
// and nothing is left where there is none.
func TestPartsOfBodies(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken off")
	for _, size := range []int{0, 1, block - 1, block, block + 1, 3 * block} {
		for _, hint := range []int64{-1, 10 * block} {
			budget := roomy(t)
			src := io.MultiReader(bytes.NewReader(bytesOf(size)), iotest.ErrReader(broken))
			body, err := spool.ReadPart(src, hint, budget, spool.Bounds{Memory: 2 * block, File: 20 * block})
			if !errors.Is(err, broken) || body == nil {
				t.Fatalf("%d bytes, length %d: got %v, %v", size, hint, body, err)
			}
			if got, err := io.ReadAll(body.Open()); err != nil || !bytes.Equal(got, bytesOf(size)) {
				t.Errorf("%d bytes, length %d: read %d bytes, %v", size, hint, len(got), err)
			}
			body.Close()
			wantUsage(t, budget, spool.Usage{})
		}
	}
	budget := roomy(t)
	whole, err := spool.ReadPart(bytes.NewReader(bytesOf(block)), -1, budget, spool.Bounds{Memory: 2 * block})
	if err != nil || whole.Size() != block {
		t.Fatalf("a whole body: %v, %v", whole, err)
	}
	whole.Close()
	if body, err := spool.ReadPart(bytes.NewReader(bytesOf(3*block)), -1, budget, spool.Bounds{Memory: 2 * block}); body != nil || !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("a body that is too large: %v, %v", body, err)
	}
	wantUsage(t, budget, spool.Usage{})
}
