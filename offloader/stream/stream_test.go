package stream_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// memory keeps four blocks, and more in a file.
func memory() stream.Options {
	return stream.Options{Bounds: spool.Bounds{Memory: 4 * block, File: 4 * block}}
}

func TestResult(t *testing.T) {
	t.Parallel()
	play(t, "comes as pieces and an end", memory(), func(s *scene) {
		s.write(100)
		s.wantNext(s.reader, "100")
		s.write(50)
		s.wantNext(s.reader, "50")
		s.stream.End(nil)
		s.stream.End(errCut) // too late
		s.wantNext(s.reader, "EOF", "EOF")
		if got := s.stream.Written(); got != 150 {
			s.t.Errorf("%d bytes", got)
		}
	})
	play(t, "has an end with a cause after its bytes", memory(), func(s *scene) {
		s.write(block + 10)
		s.stream.End(errCut)
		s.wantNext(s.reader, whole, "10", "cut short", "cut short")
	})
	play(t, "may be nothing but an end", memory(), func(s *scene) {
		next := s.next(s.reader)
		next.wantWaiting()
		s.stream.End(nil)
		synctest.Wait()
		next.wantPiece("EOF")
	})
	play(t, "may be written in one piece that needs memory and file", memory(), func(s *scene) {
		s.write(8*block).want(8*block, nil, 0)
		s.wantUsage(spool.Usage{Memory: 4 * block, Disk: 4 * block})
		s.stream.End(nil)
		s.wantBody(s.reader, 8*block)
	})
	play(t, "is not written to after its end", memory(), func(s *scene) {
		s.stream.End(nil)
		s.write(1).want(0, stream.ErrEnded, 0)
		s.write(0).want(0, nil, 0)
		s.wantNext(s.reader, "EOF")
	})
	play(t, "is not written to after an end with a cause", memory(), func(s *scene) {
		s.stream.End(errCut)
		s.write(1).want(0, errCut, 0)
	})
	play(t, "is not written to after it was closed", memory(), func(s *scene) {
		s.stream.Close()
		s.write(1).want(0, stream.ErrEnded, 0)
	})
	play(t, "holds copies of what was written", memory(), func(s *scene) {
		p := []byte("abc")
		if _, err := s.stream.Write(p); err != nil {
			s.t.Fatal(err)
		}
		copy(p, "xyz")
		piece, err := s.reader.Next(nil)
		if err != nil || string(piece.Data) != "abc" {
			s.t.Errorf("%q, %v", piece.Data, err)
		}
	})
}

// wantBody reads to the end and compares.
func (s *scene) wantBody(r *stream.Reader, n int) {
	s.t.Helper()
	var got []byte
	for {
		piece, err := r.Next(nil)
		if err != nil {
			if !errors.Is(err, io.EOF) || !bytes.Equal(got, bytesOf(n)) {
				s.t.Errorf("read %d bytes, want %d: %v", len(got), n, err)
			}
			return
		}
		got = append(got, piece.Data...)
	}
}

func TestReaders(t *testing.T) {
	t.Parallel()
	play(t, "are called off while they wait, and may come again", memory(), func(s *scene) {
		for range 3 {
			left := make(chan struct{})
			st := s.nextUnless(s.reader, left)
			st.wantWaiting()
			close(left)
			synctest.Wait()
			st.wantPiece("reader left")
		}
		s.write(10)
		s.wantNext(s.reader, "10")
	})
	play(t, "get what is there even if they are called off", memory(), func(s *scene) {
		left := make(chan struct{})
		close(left)
		s.write(10)
		s.nextUnless(s.reader, left).wantPiece("10")
		s.nextUnless(s.reader, left).wantPiece("reader left")
		s.stream.End(nil)
		s.nextUnless(s.reader, left).wantPiece("EOF")
	})
	play(t, "may be values set up by Join", memory(), func(s *scene) {
		var st stream.Stream
		st.Init(stream.Options{Budget: s.budget, Bounds: spool.Bounds{Memory: block}})
		defer st.Close()
		var r stream.Reader
		r.Join(&st)
		if _, err := st.Write([]byte("abc")); err != nil {
			s.t.Fatal(err)
		}
		if piece, err := r.Next(nil); err != nil || string(piece.Data) != "abc" {
			s.t.Errorf("%q, %v", piece.Data, err)
		}
	})
}

func TestAbort(t *testing.T) {
	t.Parallel()
	play(t, "gives its reader nothing more", memory(), func(s *scene) {
		s.write(block + 10)
		s.wantNext(s.reader, whole)
		s.stream.Abort(errCut)
		s.wantNext(s.reader, "cut short")
		s.write(1).want(0, errCut, 0)
	})
	play(t, "wakes readers that wait", memory(), func(s *scene) {
		st := s.next(s.reader)
		s.pass(second)
		s.stream.Abort(errCut)
		synctest.Wait()
		st.wantPiece("cut short")
	})
	play(t, "cuts also what has ended but was not read", memory(), func(s *scene) {
		s.write(10)
		s.stream.End(nil)
		s.stream.Abort(errCut)
		s.wantNext(s.reader, "cut short")
	})
	play(t, "is not undone by an end", memory(), func(s *scene) {
		s.stream.Abort(errCut)
		s.stream.End(nil)
		s.wantNext(s.reader, "cut short")
	})
	play(t, "without a cause says that it has ended", memory(), func(s *scene) {
		s.stream.Abort(nil)
		s.wantNext(s.reader, stream.ErrEnded.Error())
		s.write(1).want(0, stream.ErrEnded, 0)
	})
}
