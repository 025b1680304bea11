package stream_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

func TestFlush(t *testing.T) {
	t.Parallel()
	play(t, "comes with the last byte before it", memory(), func(s *scene) {
		s.write(10)
		s.stream.Flush()
		s.wantNext(s.reader, "10+")
		s.next(s.reader).wantWaiting()
	})
	play(t, "comes alone if all bytes are out", memory(), func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		st := s.next(s.reader)
		st.wantWaiting()
		s.stream.Flush()
		synctest.Wait()
		st.wantPiece("0+")
		s.next(s.reader).wantWaiting()
	})
	play(t, "comes before any byte", memory(), func(s *scene) {
		s.stream.Flush()
		s.wantNext(s.reader, "0+")
		s.next(s.reader).wantWaiting()
	})
	play(t, "comes once for several in a row", memory(), func(s *scene) {
		s.write(10)
		s.stream.Flush()
		s.write(10)
		s.stream.Flush()
		s.stream.Flush()
		s.wantNext(s.reader, "20+")
		s.next(s.reader).wantWaiting()
	})
	play(t, "comes although more was written after it", memory(), func(s *scene) {
		s.write(10)
		s.stream.Flush()
		s.write(10)
		s.wantNext(s.reader, "20+")
	})
	play(t, "comes only with the block that has its last byte", memory(), func(s *scene) {
		s.write(2*block + 10)
		s.stream.Flush()
		s.wantNext(s.reader, whole, whole, "10+")
	})
	play(t, "comes from the file as well", bounded(0, 4*block), func(s *scene) {
		s.write(block + 10)
		s.stream.Flush()
		s.wantNext(s.reader, whole, "10+")
	})
	play(t, "comes before the end", memory(), func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		s.stream.Flush()
		s.stream.End(nil)
		s.wantNext(s.reader, "0+", "EOF")
	})
	play(t, "does not come without being asked for", memory(), func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		st := s.next(s.reader)
		s.pass(time.Hour)
		st.wantWaiting()
	})
}

func TestFlushOfReadersThatIdle(t *testing.T) {
	t.Parallel()
	idle := func(t *testing.T, name string, act func(s *scene)) {
		t.Helper()
		play(t, name, memory(), func(s *scene) {
			s.reader.FlushIdle = second
			act(s)
		})
	}
	idle(t, "bytes that nothing follows are flushed after a while, once", func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		st := s.next(s.reader)
		s.pass(second - 1)
		st.wantWaiting()
		s.pass(1)
		st.wantPiece("0+")
		st = s.next(s.reader)
		s.pass(time.Hour)
		st.wantWaiting()
	})
	idle(t, "bytes that others follow wait for those", func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		for range 3 {
			st := s.next(s.reader)
			s.pass(second - 1)
			s.write(10)
			st.wantPiece("10")
		}
		st := s.next(s.reader)
		s.pass(second)
		st.wantPiece("0+")
	})
	idle(t, "bytes that were flushed do not idle", func(s *scene) {
		s.write(10)
		s.stream.Flush()
		s.wantNext(s.reader, "10+")
		st := s.next(s.reader)
		s.pass(time.Hour)
		st.wantWaiting()
	})
	idle(t, "bytes that went past the stream idle like its own", func(s *scene) {
		st := s.next(s.reader)
		s.pass(5 * second)
		s.stream.Lead(1)
		s.pass(second - 1)
		st.wantWaiting()
		s.pass(1)
		st.wantPiece("0+")
		st = s.next(s.reader)
		s.pass(time.Hour)
		st.wantWaiting()
		s.stream.Abort(errCut)
	})
	idle(t, "bytes that went past it and were flushed do not", func(s *scene) {
		s.stream.Lead(1)
		s.stream.Flush()
		s.wantNext(s.reader, "0+")
		st := s.next(s.reader)
		s.pass(time.Hour)
		st.wantWaiting()
	})
	idle(t, "an end is not held up", func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		st := s.next(s.reader)
		s.stream.End(nil)
		synctest.Wait()
		st.wantPiece("EOF")
	})
	idle(t, "nor is who leaves", func(s *scene) {
		s.write(10)
		s.wantNext(s.reader, "10")
		left := make(chan struct{})
		st := s.nextUnless(s.reader, left)
		close(left)
		synctest.Wait()
		st.wantPiece("reader left")
	})
}

// A flush that is requested at the moment in which a reader flushes because it was idle is
// not mistaken for that one.
func TestFlushIsNotLostToIdling(t *testing.T) {
	t.Parallel()
	play(t, "with threads", bounded(4*block, 0), func(s *scene) {
		s.reader.FlushIdle = second
		var mu sync.Mutex
		read, flushed := 0, 0
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				piece, err := s.reader.Next(nil)
				if err != nil {
					return
				}
				mu.Lock()
				read += len(piece.Data)
				if piece.Flush {
					flushed = read
				}
				mu.Unlock()
			}
		})
		for i := range 300 {
			if _, err := s.stream.Write([]byte("a")); err != nil {
				s.t.Fatal(err)
			}
			synctest.Wait()
			<-time.After(second) // just as long as it idles
			if _, err := s.stream.Write([]byte("b")); err != nil {
				s.t.Fatal(err)
			}
			s.stream.Flush()
			synctest.Wait()
			mu.Lock()
			if want := 2 * (i + 1); read != want || flushed != want {
				s.t.Errorf("round %d: %d bytes read and %d flushed, want %d", i, read, flushed, want)
			}
			mu.Unlock()
		}
		s.stream.End(nil)
		reading.Wait()
	})
}

// No bytes are delivered late: whenever the writer pauses after a flush, the reader has all
// bytes, and the signal to hand them on.
func TestFlushIsNeverLate(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]stream.Options{
		"from memory": bounded(block, 0), "from a file": bounded(0, 2*block), "from both": bounded(1000, 1000),
	} {
		play(t, name, o, func(s *scene) {
			read, flushed := 0, 0
			var reading sync.WaitGroup
			reading.Go(func() {
				for {
					piece, err := s.reader.Next(nil)
					if err != nil {
						return
					}
					read += len(piece.Data)
					if piece.Flush {
						flushed = read
					}
				}
			})
			want := 0
			for i := range 40 {
				for _, n := range []int{1 + i, 100 * i} {
					if _, err := s.stream.Write(make([]byte, n)); err != nil {
						s.t.Fatal(err)
					}
					want += n
				}
				s.stream.Flush()
				synctest.Wait()
				if read != want || flushed != want {
					s.t.Fatalf("%d bytes read and %d flushed, want %d", read, flushed, want)
				}
			}
			s.stream.End(nil)
			reading.Wait()
		})
	}
}
