package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// Several streams share a budget that is too small for them. A wake-up that is
// lost would leave all of them waiting, which the bubble notices.
func TestStreamsThatShareASmallBudget(t *testing.T) {
	t.Parallel()
	play(t, "all end and are complete", memory(), func(s *scene) {
		limits := s.budget.Limits()
		limits.Memory, limits.Disk = 4*block, 2*block
		s.budget.Configure(limits)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() { transfer(s.t, s.budget, uint64(i)) })
		}
		all.Wait()
	})
}

// transfer writes and reads a body, in pieces of random sizes.
func transfer(t *testing.T, budget *spool.Budget, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 8))
	want := bytesOf(40*block + int(seed))
	s := stream.New(stream.Options{Budget: budget, Bounds: spool.Bounds{Memory: 2 * block, File: 2 * block}})
	defer s.Close()
	r := s.NewReader()
	var writing sync.WaitGroup
	writing.Go(func() {
		for left := want; len(left) > 0; {
			n := min(len(left), 1+rnd.IntN(60_000))
			if m, err := s.Write(left[:n]); m != n || err != nil {
				t.Errorf("wrote %d of %d bytes: %v", m, n, err)
			}
			left = left[n:]
			if rnd.IntN(8) == 0 {
				s.Flush()
			}
		}
		s.End(nil)
	})
	var got []byte
	for {
		piece, err := r.Next(nil)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("read: %v", err)
			}
			break
		}
		got = append(got, piece.Data...)
	}
	writing.Wait()
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
}

// A writer that finds no room in the moment in which a reader makes some does
// not wait for more.
func TestNoRoomIsMissed(t *testing.T) {
	t.Parallel()
	play(t, "with threads", bounded(1, 0), func(s *scene) {
		var writing sync.WaitGroup
		writing.Go(func() {
			for range 100 {
				if _, err := s.stream.Write(bytesOf(1000)); err != nil {
					s.t.Error(err)
				}
			}
			s.stream.End(nil)
		})
		read := 0
		for {
			piece, err := s.reader.Next(nil)
			if err != nil {
				break
			}
			read += len(piece.Data)
		}
		writing.Wait()
		if read != 100_000 {
			s.t.Errorf("read %d bytes", read)
		}
	})
}

// Readers that leave and come back in the moment in which bytes arrive miss
// none of them.
func TestReadersThatLeaveMissNothing(t *testing.T) {
	t.Parallel()
	play(t, "with threads", bounded(block, 0), func(s *scene) {
		const bytes = 1000
		var all sync.WaitGroup
		lefts := make(chan chan struct{}, 1)
		all.Go(func() {
			for i := range bytes {
				if i%2 == 0 { // at once with a call that stops the reader
					left := <-lefts
					all.Go(func() { close(left) })
				}
				if _, err := s.stream.Write([]byte{byte(i%251 + 1)}); err != nil {
					s.t.Error(err)
				}
			}
			s.stream.End(nil)
		})
		var got []byte
		left := make(chan struct{})
		lefts <- left
		for {
			piece, err := s.reader.Next(left)
			got = append(got, piece.Data...)
			if errors.Is(err, stream.ErrLeft) {
				left = make(chan struct{})
				select {
				case lefts <- left:
				default:
				}
			} else if err != nil {
				break
			}
		}
		all.Wait()
		if fmt.Sprint(got) != fmt.Sprint(bytesOf(bytes)) {
			s.t.Errorf("read %d bytes, want %d", len(got), bytes)
		}
	})
}

// An abort from any goroutine, at any moment, ends both sides.
func TestAbortAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, o := range []stream.Options{bounded(block, 0), bounded(0, block), memory()} {
		play(t, fmt.Sprintf("%+v", o.Bounds), o, func(s *scene) {
			for i := range 100 {
				o.Budget = s.budget
				st := stream.New(o)
				r := st.NewReader()
				var all sync.WaitGroup
				all.Go(func() {
					for {
						if _, err := st.Write(bytesOf(1 + i*100)); err != nil {
							return
						}
					}
				})
				all.Go(func() {
					for {
						if _, err := r.Next(nil); err != nil {
							return
						}
					}
				})
				all.Go(func() { st.Abort(errCut) })
				all.Wait()
				st.Close()
			}
		})
	}
}
