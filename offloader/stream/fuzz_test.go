package stream_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// history plays a script of writes, flushes, reads and ends, and compares the stream after
// each step with a buffer.
type history struct {
	*scene
	bounds  spool.Bounds
	all     []byte // all that will ever be written
	writing *step
	flushed int // bytes written before the last requested flush
	flushes int
	ended   bool
	cause   error
	aborted bool
	reading *reading
}

// reading is one reader and the bytes that it has read.
type reading struct {
	*stream.Reader
	next    *step
	read    int
	from    int // where the piece began that it has
	flushes int // requested ones at its last flush
}

// everything is more than a script of 400 bytes can write.
var everything = sync.OnceValue(func() []byte { return bytesOf(200 * 255 * 601) })

func playHistory(t *testing.T, memory, file uint32, script []byte) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		limits := roomyLimits()
		limits.Dir = dir
		h := &history{
			scene:  &scene{t: t, budget: spool.NewBudget(limits)},
			bounds: spool.Bounds{Memory: int64(memory), File: int64(file)},
			all:    everything(),
		}
		h.stream = stream.New(stream.Options{Budget: h.budget, Bounds: h.bounds})
		h.reading = &reading{Reader: h.stream.NewReader()}
		for i := 0; i+1 < len(script) && !t.Failed(); i += 2 {
			h.play(script[i], int(script[i+1]))
			h.check()
		}
		h.finish()
	})
}

func (h *history) play(op byte, n int) {
	writerIsFree := h.writing == nil || !h.writing.waits()
	switch op % 16 {
	case 0, 1, 2, 3, 4, 5:
		if writerIsFree {
			h.write(n * (1 + int(op>>4)*40)) // up to two blocks at once
		}
	case 6, 7:
		if writerIsFree {
			h.flushed = int(h.stream.Written())
			h.flushes++
			h.stream.Flush()
		}
	case 15:
		h.end(n)
	default:
		if r := h.reading; r.next == nil {
			r.from = r.read
			r.next = h.next(r.Reader)
		}
	}
	synctest.Wait()
	if r := h.reading; r.next != nil && !r.next.waits() {
		h.got(r)
		r.next = nil
	}
}

func (h *history) write(n int) {
	from := int(h.stream.Written())
	h.writing = h.begin(func(st *step) { st.n, st.err = h.stream.Write(h.all[from : from+n]) })
}

func (h *history) end(n int) {
	switch {
	case n == 0:
		h.aborted, h.ended, h.cause = true, true, errCut
		h.stream.Abort(errCut)
	case n%16 == 1 && !h.ended:
		h.ended, h.cause = true, errCut
		h.stream.End(errCut)
	case n%16 == 2 && !h.ended:
		h.ended = true
		h.stream.End(nil)
	}
}

// got checks the bytes that a reader got.
func (h *history) got(r *reading) {
	h.t.Helper()
	piece, err := r.next.piece, r.next.err
	if err != nil {
		want := h.cause
		if want == nil {
			want = io.EOF
		}
		if !h.ended || !errors.Is(err, want) || (!h.aborted && r.read != int(h.stream.Written())) {
			h.t.Errorf("error %v at %d of %d, ended: %t, with %v", err, r.read, h.stream.Written(), h.ended, h.cause)
		}
		return
	}
	if !bytes.Equal(piece.Data, h.all[r.read:r.read+len(piece.Data)]) {
		h.t.Errorf("other bytes from %d to %d", r.read, r.read+len(piece.Data))
	}
	r.read += len(piece.Data)
	if len(piece.Data) == 0 && !piece.Flush {
		h.t.Error("a piece of nothing")
	}
	if due := r.flushes != h.flushes && r.read >= h.flushed; piece.Flush != due {
		h.t.Errorf("flush: %t at %d, %d flushes up to %d, passed on %d", piece.Flush, r.read, h.flushes, h.flushed, r.flushes)
	}
	if piece.Flush {
		r.flushes = h.flushes
	}
}

// check checks that neither side waits without need.
func (h *history) check() {
	h.t.Helper()
	written := int(h.stream.Written())
	if r := h.reading; r.next != nil && (h.ended || r.read < written || r.flushes != h.flushes) {
		h.t.Errorf("the reader waits at %d of %d, ended: %t, flushes %d of %d", r.read, written, h.ended, r.flushes, h.flushes)
	}
	if h.writing == nil {
		return
	}
	kept := int64(written - h.reading.from)
	switch sum := h.bounds.Sum(); {
	case h.writing.waits() && (h.ended || kept == 0 || kept <= sum-block):
		h.t.Errorf("the writer waits with %d of %d bytes not read, ended: %t", kept, sum, h.ended)
	case !h.writing.waits() && h.writing.err != nil && !h.ended:
		h.t.Errorf("the writer failed: %v", h.writing.err)
	}
}

// finish reads all that is left and closes the stream.
func (h *history) finish() {
	for range 10_000 {
		h.play(8, 0)
		h.check()
		done := h.reading.next != nil
		if h.ended || h.t.Failed() || (done && (h.writing == nil || !h.writing.waits())) {
			break
		}
	}
	h.stream.Abort(errCut)
	synctest.Wait()
	h.stream.Close()
	h.wantUsage(spool.Usage{})
}

func FuzzStreamAgainstBuffer(f *testing.F) {
	f.Add(uint32(1000), uint32(0), []byte("0a8a0b8b7a8a"))
	f.Add(uint32(0), uint32(40_000), []byte("\xf0\xff7a8a8a8a\xf0\xff8a8a8a\x0f\x02"))
	f.Add(uint32(60_000), uint32(40_000), []byte("\x40\xff7a8a>a8b8b8a\x0f\x01"))
	f.Add(uint32(0), uint32(0), []byte("0a8a"))
	f.Fuzz(func(t *testing.T, memory, file uint32, script []byte) {
		if len(script) <= 400 {
			playHistory(t, memory%300_000, file%300_000, script)
		}
	})
}

// The same with random histories, also without fuzzing.
func TestStreamAgainstBuffer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		script := make([]byte, rnd.IntN(200))
		for i := range script {
			script[i] = byte(rnd.Uint32())
		}
		bound := func() uint32 { return []uint32{0, 100, block, 60_000, rnd.Uint32N(200_000)}[rnd.IntN(5)] }
		playHistory(t, bound(), bound(), script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
