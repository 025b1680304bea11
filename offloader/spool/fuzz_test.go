package spool_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// chunked is a source that gives the rest in random pieces.
type chunked struct {
	rnd  *rand.Rand
	left []byte
}

func (c *chunked) Read(p []byte) (int, error) {
	n := copy(p, c.left[:min(len(c.left), c.rnd.IntN(2*block))])
	c.left = c.left[n:]
	if len(c.left) == 0 && (n == 0 || c.rnd.IntN(2) == 0) {
		return n, io.EOF
	}
	return n, nil
}

// A spool is a buffer with bounds.
func checkAgainstBuffer(t *testing.T, seed uint64, size uint32) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 5))
	around := func() int64 { return max(0, rnd.Int64N(5)*block+rnd.Int64N(5)-2) }
	bounds := spool.Bounds{Memory: around(), File: around()}
	half := spool.Bounds{Memory: 1 << 30, File: 1 << 30} // of the budget, for requests
	if rnd.IntN(3) == 0 {
		half = spool.Bounds{Memory: around(), File: around()}
	}
	budget := budgetOf(t, spool.Limits{Memory: 2 * half.Memory, Disk: 2 * half.File, Uploads: 1})
	want := bytesOf(int(size % (8 * block)))
	hint := int64(-1)
	if rnd.IntN(2) == 0 {
		hint = int64(len(want))
	}
	body, err := spool.ReadBody(&chunked{rnd, want}, hint, budget, bounds)
	switch {
	case err == nil:
		defer body.Close()
	case errors.Is(err, spool.ErrTooLarge) && int64(len(want)) > bounds.Sum():
		return
	case errors.Is(err, spool.ErrFull) && int64(len(want)) > min(half.Memory, bounds.Memory)+min(half.File, bounds.File)-3*block:
		return // blocks are whole, so the last ones of a budget may be of no use
	default:
		t.Fatalf("%d bytes in %+v of %+v: %v", len(want), bounds, half, err)
	}
	if int64(len(want)) > bounds.Sum() {
		t.Fatalf("%d bytes in %+v", len(want), bounds)
	}
	for range 2 {
		if got, err := readInSteps(body.Open(), rnd); !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
			t.Fatalf("read %d of %d bytes: %v", len(got), len(want), err)
		}
	}
}

// readInSteps reads with buffers of random sizes.
func readInSteps(r io.Reader, rnd *rand.Rand) ([]byte, error) {
	var all []byte
	buf := make([]byte, 2*block)
	for {
		n, err := r.Read(buf[:rnd.IntN(len(buf))])
		all = append(all, buf[:n]...)
		if err != nil {
			return all, err
		}
	}
}

func FuzzBodyAgainstBuffer(f *testing.F) {
	for _, size := range []uint32{0, 1, block, 2*block + 1} {
		f.Add(uint64(size), size)
	}
	f.Fuzz(checkAgainstBuffer)
}

func TestBodyAgainstBuffer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		checkAgainstBuffer(t, seed, rand.New(rand.NewPCG(seed, 6)).Uint32())
	}
}
