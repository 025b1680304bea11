package stream_test

import (
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// wantTry wants these pieces from TryNext, as wantNext does, and then none.
func (s *scene) wantTry(most int, full bool, want ...string) {
	s.t.Helper()
	for _, text := range append(want, "0") {
		piece, err := s.reader.TryNext(most, full)
		got := strconv.Itoa(len(piece.Data))
		if piece.Flush {
			got += "+"
		}
		if err != nil || got != text {
			s.t.Errorf("TryNext: %q, %v; want %q", got, err, text)
		}
	}
}

func TestTryNext(t *testing.T) {
	t.Parallel()
	play(t, "returns what is there, and the flush with it", memory(), func(s *scene) {
		s.wantTry(block, false)
		s.write(10)
		s.stream.Flush()
		s.wantTry(block, false, "10+")
		s.stream.Flush()
		s.wantTry(block, false, "0+")
	})
	play(t, "returns at most so many bytes, and the flush with the last one", memory(), func(s *scene) {
		s.write(block + 10)
		s.stream.Flush()
		s.wantTry(block/2, false, strconv.Itoa(block/2), strconv.Itoa(block/2), "10+")
	})
	play(t, "leaves blocks alone that are not full, and flushes with them", memory(), func(s *scene) {
		s.write(block + 10)
		s.stream.Flush()
		s.wantTry(block, true, whole)
		s.wantUsage(spool.Usage{Memory: block})
		s.write(block - 10)
		s.wantTry(block, true, whole+"+")
	})
	play(t, "takes bytes from the file, full or not", bounded(0, 4*block), func(s *scene) {
		s.write(block + 10)
		s.wantTry(block, true, whole, "10")
	})
	play(t, "returns what came before the end, and leaves the cause to Next", memory(), func(s *scene) {
		s.write(10)
		s.stream.End(errCut)
		s.wantTry(block, false, "10")
		if _, err := s.reader.Next(nil); !errors.Is(err, errCut) {
			t.Errorf("Next: %v", err)
		}
	})
	play(t, "returns nothing of a stream that was aborted", memory(), func(s *scene) {
		s.write(10)
		s.stream.Abort(errCut)
		s.wantTry(block, false)
	})
	play(t, "goes on where Next was, and Next where it was", memory(), func(s *scene) {
		s.write(2*block + 10)
		s.wantNext(s.reader, whole)
		s.wantTry(block/2, true, strconv.Itoa(block/2), strconv.Itoa(block/2))
		s.wantNext(s.reader, "10")
	})
}

func TestPending(t *testing.T) {
	t.Parallel()
	play(t, "is a byte or a flush", memory(), func(s *scene) {
		want := func(when string, want bool) {
			if s.reader.Pending() != want {
				s.t.Errorf("%s: %v", when, !want)
			}
		}
		want("at first", false)
		s.write(10)
		want("with bytes", true)
		s.wantTry(block, false, "10")
		want("after them", false)
		s.stream.Flush()
		want("with a flush", true)
		s.wantTry(block, false, "0+")
		want("after it", false)
	})
}

func TestRest(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]bool{"memory": false, "the file": true} {
		o := memory()
		if file {
			o = bounded(0, 4*block)
		}
		play(t, "gives back what was read, in "+name, o, func(s *scene) {
			for range 3 {
				s.write(block + 10)
				if s.reader.Rest() {
					s.t.Error("it rests before it has read all")
				}
				s.wantTry(block, false, whole, "10")
				if !s.reader.Rest() {
					s.t.Error("it does not rest")
				}
				if used := s.budget.Usage(); used.Memory != 0 {
					s.t.Errorf("kept: %+v", used)
				}
			}
			s.write(10)
			s.stream.End(nil)
			s.wantNext(s.reader, "10")
			if _, err := s.reader.Next(nil); !errors.Is(err, io.EOF) {
				s.t.Errorf("at the end: %v", err)
			}
		})
	}
	play(t, "is refused with a flush to come, and after an abort", memory(), func(s *scene) {
		s.stream.Flush()
		if s.reader.Rest() {
			s.t.Error("a flush would be lost")
		}
		s.stream.Abort(errCut)
		if s.reader.Rest() {
			s.t.Error("it rests after an abort")
		}
	})
}

// Bytes that went past the stream are flushed as those that went through it.
func TestLinger(t *testing.T) {
	t.Parallel()
	for _, yes := range []bool{false, true} {
		o := memory()
		play(t, "says whether a reader that idles flushes: "+strconv.FormatBool(yes), o, func(s *scene) {
			s.reader.FlushIdle = second
			s.reader.Linger(yes)
			st := s.next(s.reader)
			st.wantWaiting()
			s.pass(second)
			if yes {
				st.wantPiece("0+")
			} else {
				st.wantWaiting()
			}
		})
	}
}
