package stream_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

func bounded(memory, file int64) stream.Options {
	return stream.Options{Bounds: spool.Bounds{Memory: memory, File: file}}
}

func stalling(o stream.Options) stream.Options {
	o.Stall = 10 * second
	return o
}

func TestBackpressure(t *testing.T) {
	t.Parallel()
	play(t, "a full stream blocks its writer until somebody has read", bounded(block, block), func(s *scene) {
		w := s.write(4 * block)
		w.wantWaiting()
		if got := s.stream.Written(); got != 2*block {
			s.t.Errorf("%d bytes written", got)
		}
		s.pass(second)
		s.wantNext(s.reader, whole) // given back with the next
		w.wantWaiting()
		s.wantNext(s.reader, whole)
		w.wantWaiting()
		s.wantNext(s.reader, whole)
		w.want(4*block, nil, second)
		s.wantNext(s.reader, whole)
		s.next(s.reader).wantWaiting()
	})
	play(t, "room of less than a block is used again and again", bounded(1000, 10), func(s *scene) {
		w := s.write(10_000)
		for !isDone(w) || s.stream.Written() < 10_000 {
			if _, err := s.reader.Next(nil); err != nil {
				s.t.Fatal(err)
			}
			synctest.Wait()
		}
		w.want(10_000, nil, 0)
	})
	play(t, "memory is given back as it is read", bounded(4*block, 0), func(s *scene) {
		s.write(4 * block)
		for left := int64(4); left > 0; left-- { // a piece is the reader's until it asks for the next
			s.wantNext(s.reader, whole)
			s.wantUsage(spool.Usage{Memory: left * block})
		}
		s.next(s.reader).wantWaiting()
		s.wantUsage(spool.Usage{})
	})
	play(t, "the file grows no more than to the most that was not read", bounded(0, 4*block), func(s *scene) {
		s.write(3 * block)
		for range 50 {
			s.wantNext(s.reader, whole)
			s.write(block).want(block, nil, 0)
			s.wantUsage(spool.Usage{Disk: 4 * block})
		}
	})
	play(t, "an end wakes a writer that waits", bounded(block, 0), func(s *scene) {
		w := s.write(2 * block)
		w.wantWaiting()
		s.stream.End(errCut)
		synctest.Wait()
		w.want(block, errCut, 0)
		s.wantNext(s.reader, whole, "cut short")
	})
	play(t, "so does an abort", bounded(block, 0), func(s *scene) {
		w := s.write(2 * block)
		s.stream.Abort(errCut)
		synctest.Wait()
		w.want(block, errCut, 0)
		s.wantNext(s.reader, "cut short")
	})
	play(t, "a late reader wakes a writer that waits", bounded(block, 0), func(s *scene) {
		w := s.write(2 * block)
		s.pass(time.Hour)
		s.wantNext(s.reader, whole, whole)
		w.want(2*block, nil, time.Hour)
	})
	play(t, "a stream that may keep nothing passes all on, at the pace of its reader", bounded(0, 0), func(s *scene) {
		w := s.write(2*block + 10)
		s.pass(second)
		s.wantNext(s.reader, whole, whole, "10")
		w.wantWaiting() // the reader may still use the last piece
		s.next(s.reader).wantWaiting()
		w.want(2*block+10, nil, second)
	})
}

func isDone(st *step) bool { return !st.waits() }

func TestStall(t *testing.T) {
	t.Parallel()
	play(t, "a writer that is blocked for too long ends the stream", stalling(bounded(block, 0)), func(s *scene) {
		w := s.write(2 * block)
		s.pass(10*second - 1)
		w.wantWaiting()
		s.pass(1)
		w.want(block, stream.ErrStalled, 10*second)
		s.wantNext(s.reader, stream.ErrStalled.Error())
		s.write(1).want(0, stream.ErrStalled, 0)
	})
	play(t, "time counts only while it is blocked", stalling(bounded(block, 0)), func(s *scene) {
		s.write(block).want(block, nil, 0)
		s.wantNext(s.reader, whole)
		for range 4 {
			s.pass(20 * second)
			w := s.write(block)
			s.pass(9 * second)
			w.wantWaiting()
			s.wantNext(s.reader, whole)
			w.want(block, nil, 9*second)
		}
	})
	play(t, "a slow reader does not stall it", stalling(bounded(block, 0)), func(s *scene) {
		w := s.write(5 * block)
		for range 4 {
			s.wantNext(s.reader, whole)
			s.pass(9 * second)
		}
		w.wantWaiting()
		s.wantNext(s.reader, whole)
		w.want(5*block, nil, 36*second)
	})
	play(t, "room that is of no use does not prolong it", stalling(bounded(block, 0)), func(s *scene) {
		w := s.write(2 * block)
		for range 9 { // others release room that this stream may not take
			s.pass(second)
			s.budget.Configure(s.budget.Limits())
			synctest.Wait()
		}
		w.wantWaiting()
		s.pass(second)
		w.want(block, stream.ErrStalled, 10*second)
	})
	play(t, "without a limit a writer waits for ever", bounded(block, 0), func(s *scene) {
		w := s.write(2 * block)
		s.pass(1000 * time.Hour)
		w.wantWaiting()
		s.wantNext(s.reader, whole, whole)
	})
}

func TestBudgetThatIsSpent(t *testing.T) {
	t.Parallel()
	// two plays with a second stream that has taken the whole budget.
	two := func(t *testing.T, name string, o stream.Options, act func(s *scene, other *stream.Stream, reader *stream.Reader)) {
		t.Helper()
		limits := spool.Limits{Memory: 4 * block, Disk: 4 * block, Dir: t.TempDir()} // half of it is for streams
		play(t, name, stream.Options{Bounds: spool.Bounds{Memory: 2 * block, File: 2 * block}, Budget: nil}, func(s *scene) {
			s.budget.Configure(limits)
			other, reader := s.stream, s.reader
			s.write(4 * block)
			o.Budget = s.budget
			s.stream = stream.New(o)
			s.reader = s.stream.NewReader()
			act(s, other, reader)
			other.Close()
		})
	}
	wide := bounded(10*block, 10*block)
	two(t, "a writer passes on what it cannot keep and waits for its reader", wide, func(s *scene, _ *stream.Stream, _ *stream.Reader) {
		w := s.write(block + 10)
		s.pass(second)
		w.wantWaiting()
		s.wantUsage(spool.Usage{Memory: 2 * block, Disk: 2 * block})
		s.wantNext(s.reader, whole, "10")
		w.wantWaiting()
		s.next(s.reader).wantWaiting()
		w.want(block+10, nil, second)
	})
	two(t, "a writer waits for its reader until others give something back", wide, func(s *scene, _ *stream.Stream, reader *stream.Reader) {
		w := s.write(10)
		s.pass(second)
		w.wantWaiting()
		s.wantNext(reader, whole, whole)
		w.want(10, nil, second)
		s.wantUsage(spool.Usage{Memory: block + 10, Disk: 2 * block})
		s.wantNext(s.reader, "10")
	})
	two(t, "a stream that others close makes room", wide, func(s *scene, other *stream.Stream, _ *stream.Reader) {
		w := s.write(10)
		w.wantWaiting()
		other.Close()
		synctest.Wait()
		w.want(10, nil, 0)
	})
	two(t, "a larger budget makes room", wide, func(s *scene, _ *stream.Stream, _ *stream.Reader) {
		w := s.write(10)
		w.wantWaiting()
		s.budget.Configure(roomyLimits())
		synctest.Wait()
		w.want(10, nil, 0)
	})
	two(t, "it stalls if nobody reads and nobody gives anything back", stalling(wide), func(s *scene, _ *stream.Stream, _ *stream.Reader) {
		w := s.write(10)
		s.pass(10 * second)
		w.want(10, stream.ErrStalled, 10*second)
	})
	two(t, "an end does not wait for the reader", wide, func(s *scene, _ *stream.Stream, _ *stream.Reader) {
		w := s.write(10)
		s.stream.End(errCut)
		synctest.Wait()
		w.want(10, errCut, 0)
		s.wantNext(s.reader, "10", "cut short")
	})
}

// A disk that is full leaves memory, or fails the writer at once if there is
// none. No byte is wrong, and none that was taken is lost.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	testkit.WithFileLimit(t, block+100, func(t *testing.T) {
		for name, memory := range map[string]int64{"with memory": 2 * block, "with less memory than a block": 1000} {
			play(t, name, stalling(bounded(memory, 10*block)), func(s *scene) {
				w := s.write(20 * block)
				w.wantWaiting()
				if got := s.stream.Written(); got != memory+block {
					s.t.Errorf("%d bytes fit", got)
				}
				go func() {
					<-w.done
					s.stream.End(w.err)
				}()
				s.wantBody(s.reader, 20*block)
				w.want(20*block, nil, 0)
			})
		}
		play(t, "without memory", stalling(bounded(0, 10*block)), func(s *scene) {
			w := s.write(3 * block)
			w.wantWaiting()
			if got := s.stream.Written(); got != block {
				s.t.Errorf("%d bytes fit", got)
			}
			s.wantNext(s.reader, whole, whole, whole)
			s.next(s.reader).wantWaiting()
			w.want(3*block, nil, 0)
			if err := s.stream.Broken(); !errors.Is(err, spool.ErrFull) {
				s.t.Errorf("the file is broken by %v", err)
			}
		})
		play(t, "without memory, and with patience", patient(0, 10*block), func(s *scene) {
			s.write(block).want(block, nil, 0)
			w := s.write(2 * block) // patience is for writers that can expect room
			s.wantNext(s.reader, whole, whole, whole)
			s.next(s.reader).wantWaiting()
			w.want(2*block, nil, 0)
		})
	})
}

// A disk that is full from the start is as good as none, also for a reader that
// waits already.
func TestDiskWithoutRoom(t *testing.T) {
	t.Parallel()
	testkit.WithFileLimit(t, 100, func(t *testing.T) {
		play(t, "for a file", patient(0, 10*block), func(s *scene) {
			next := s.next(s.reader)
			w := s.write(block + 10)
			next.wantPiece(whole)
			w.wantWaiting()
			s.wantNext(s.reader, "10")
			s.next(s.reader).wantWaiting()
			w.want(block+10, nil, 0)
		})
	})
}

// Where no file can be made, memory is used instead, and where that is used up the
// stream goes on as without a file.
func TestFolderThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	limited := func(s *scene, memory int64) {
		limits := s.budget.Limits()
		limits.Dir, limits.Memory = "/proc/nothing", 2*memory // half of it is for streams
		s.budget.Configure(limits)
	}
	play(t, "with memory", bounded(block, 10*block), func(s *scene) {
		limited(s, 2*block)
		w := s.write(4 * block)
		w.wantWaiting()
		s.wantUsage(spool.Usage{Memory: 2 * block})
		s.wantNext(s.reader, whole, whole, whole, whole)
		w.want(4*block, nil, 0)
	})
	play(t, "with more memory than it may use in all", bounded(block, 2*block), func(s *scene) {
		limited(s, 10*block)
		w := s.write(4 * block)
		w.wantWaiting()
		s.wantUsage(spool.Usage{Memory: 3 * block})
		s.wantNext(s.reader, whole, whole, whole, whole)
		w.want(4*block, nil, 0)
	})
	play(t, "without memory", bounded(0, 10*block), func(s *scene) {
		limited(s, 0)
		w := s.write(2 * block)
		w.wantWaiting()
		s.wantNext(s.reader, whole, whole)
		s.next(s.reader).wantWaiting()
		w.want(2*block, nil, 0)
	})
}
