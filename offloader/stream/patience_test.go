package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

func patient(memory, file int64) stream.Options {
	o := bounded(memory, file)
	o.Patience = second
	return o
}

func TestPatience(t *testing.T) {
	t.Parallel()
	play(t, "a writer waits for its reader before it turns to the file, and then no more", patient(block, 10*block), func(s *scene) {
		w := s.write(3 * block)
		s.pass(second - 1)
		w.wantWaiting()
		s.wantUsage(spool.Usage{Memory: block})
		s.pass(1)
		w.want(3*block, nil, second)
		s.wantUsage(spool.Usage{Memory: block, Disk: 2 * block})
		s.write(block).want(block, nil, 0)
		s.stream.End(nil)
		s.wantNext(s.reader, whole, whole, whole, whole, "EOF")
	})
	play(t, "a reader that keeps up leaves no file", patient(2*block, 10*block), func(s *scene) {
		w := s.write(10 * block)
		for range 10 {
			s.wantNext(s.reader, whole)
			s.pass(second - 1)
		}
		w.want(10*block, nil, 8*(second-1))
		if got := s.budget.Usage().Disk; got != 0 {
			s.t.Errorf("%d bytes of disk are used", got)
		}
	})
	play(t, "the first block is not waited for", patient(0, 10*block), func(s *scene) {
		s.write(block).want(block, nil, 0)
	})
	play(t, "an end is not held up", patient(block, 10*block), func(s *scene) {
		w := s.write(3 * block)
		w.wantWaiting()
		s.stream.End(errCut)
		synctest.Wait()
		w.want(block, errCut, 0)
	})
	play(t, "nor is an abort", patient(block, 10*block), func(s *scene) {
		w := s.write(3 * block)
		w.wantWaiting()
		s.stream.Abort(errCut)
		synctest.Wait()
		w.want(block, errCut, 0)
	})
	play(t, "it counts before the time for a stall", func() stream.Options {
		o := patient(block, block)
		o.Stall = 10 * second
		return o
	}(), func(s *scene) {
		w := s.write(3 * block)
		s.pass(11*second - 1)
		w.wantWaiting()
		s.pass(1)
		w.want(2*block, stream.ErrStalled, 11*second)
	})
}

// Bytes that were led past the stream are the beginning of a piece: its rest fills a block,
// and the pieces after it are whole.
func TestPiecesStayInLineWithBlocks(t *testing.T) {
	t.Parallel()
	play(t, "in memory", memory(), func(s *scene) {
		s.stream.Lead(10)
		for _, n := range []int{block - 10, block, block} {
			s.write(n)
		}
		s.wantNext(s.reader, less(10), whole, whole)
	})
	play(t, "a whole block and more", memory(), func(s *scene) {
		s.stream.Lead(block + 10)
		s.write(2 * block)
		s.wantNext(s.reader, whole, whole)
	})
}
