package stream_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// memory keeps four blocks, and more in a file.
func memory() stream.Options {
	return stream.Options{Bounds: spool.Bounds{Memory: 4 * block, File: 4 * block}}
}

func keeping() stream.Options {
	o := memory()
	o.Keep = true
	return o
}

func TestResult(t *testing.T) {
	t.Parallel()
	play(t, "comes as preamble, pieces, trailer and end", memory(), func(s *scene) {
		s.stream.Begin(stream.Preamble{Status: 200, Header: map[string][]string{"A": {"b"}}})
		s.stream.Begin(stream.Preamble{Status: 500}) // too late
		p, err := s.reader.Preamble(nil)
		if err != nil || p.Status != 200 || p.Header["A"][0] != "b" {
			s.t.Errorf("preamble %+v, %v", p, err)
		}
		s.write(100)
		s.wantNext(s.reader, "100")
		s.write(50)
		s.wantNext(s.reader, "50")
		trailer := map[string][]string{"X": {"y"}}
		s.stream.End(trailer, nil)
		s.stream.End(nil, errCut) // too late
		s.wantNext(s.reader, "EOF", "EOF")
		if got := s.reader.Trailer(); !maps.EqualFunc(got, trailer, slices.Equal) {
			s.t.Errorf("trailer %v", got)
		}
		if got := s.stream.Written(); got != 150 {
			s.t.Errorf("%d bytes", got)
		}
	})
	play(t, "has an end with a cause after its bytes", memory(), func(s *scene) {
		s.write(block + 10)
		s.stream.End(nil, errCut)
		s.wantNext(s.reader, whole, "10", "cut short", "cut short")
	})
	play(t, "may be nothing but an end", memory(), func(s *scene) {
		next := s.next(s.reader)
		next.wantWaiting()
		s.stream.End(nil, nil)
		synctest.Wait()
		next.wantPiece("EOF")
	})
	play(t, "may be written in one piece that needs memory and file", memory(), func(s *scene) {
		s.write(8*block).want(8*block, nil, 0)
		s.wantUsage(spool.Usage{Memory: 4 * block, Disk: 4 * block})
		s.stream.End(nil, nil)
		s.wantBody(s.reader, 8*block)
	})
	play(t, "is not written to after its end", memory(), func(s *scene) {
		s.stream.End(nil, nil)
		s.write(1).want(0, stream.ErrEnded, 0)
		s.write(0).want(0, nil, 0)
		s.wantNext(s.reader, "EOF")
	})
	play(t, "is not written to after an end with a cause", memory(), func(s *scene) {
		s.stream.End(nil, errCut)
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

func TestPreamble(t *testing.T) {
	t.Parallel()
	wait := func(s *scene, left <-chan struct{}) *step {
		return s.begin(func(st *step) {
			var p stream.Preamble
			p, st.err = s.reader.Preamble(left)
			st.n = p.Status
		})
	}
	play(t, "is waited for", memory(), func(s *scene) {
		st := wait(s, nil)
		s.pass(second)
		st.wantWaiting()
		s.stream.Begin(stream.Preamble{Status: 204})
		synctest.Wait()
		st.want(204, nil, second)
	})
	play(t, "does not come if the stream is cut short before", memory(), func(s *scene) {
		st := wait(s, nil)
		s.stream.End(nil, errCut)
		synctest.Wait()
		st.want(0, errCut, 0)
	})
	play(t, "does not come if the stream ends without one", memory(), func(s *scene) {
		st := wait(s, nil)
		s.stream.End(nil, nil)
		synctest.Wait()
		st.want(0, stream.ErrEnded, 0)
	})
	play(t, "does not come if the stream is aborted", memory(), func(s *scene) {
		st := wait(s, nil)
		s.stream.Abort(errCut)
		synctest.Wait()
		st.want(0, errCut, 0)
	})
	play(t, "is there also after the end", memory(), func(s *scene) {
		s.stream.Begin(stream.Preamble{Status: 500})
		s.stream.End(nil, errCut)
		wait(s, nil).want(500, nil, 0)
	})
	play(t, "is not waited for by who is called off", memory(), func(s *scene) {
		left := make(chan struct{})
		st := wait(s, left)
		st.wantWaiting()
		close(left)
		synctest.Wait()
		st.want(0, stream.ErrLeft, 0)
		s.stream.Begin(stream.Preamble{Status: 200})
		wait(s, left).want(200, nil, 0)
	})
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
		s.stream.End(nil, nil)
		s.nextUnless(s.reader, left).wantPiece("EOF")
	})
	play(t, "join late and get all that is kept", keeping(), func(s *scene) {
		s.write(5*block + 10) // in memory and in the file
		s.wantNext(s.reader, whole, whole)
		late := s.stream.NewReader()
		s.stream.End(map[string][]string{"X": nil}, nil)
		s.wantBody(late, 5*block+10)
		s.wantBody(s.stream.NewReader(), 5*block+10)
		if _, ok := late.Trailer()["X"]; !ok {
			s.t.Error("no trailer")
		}
		s.wantUsage(spool.Usage{Memory: 4 * block, Disk: 2 * block})
	})
	play(t, "each go at their own pace", keeping(), func(s *scene) {
		other := s.stream.NewReader()
		s.write(10)
		s.wantNext(s.reader, "10")
		first, second := s.next(s.reader), s.next(other)
		first.wantWaiting()
		second.wantPiece("10")
		second = s.next(other)
		s.write(block)
		first.wantPiece(less(10))
		second.wantPiece(less(10))
		s.wantNext(other, "10")
		s.wantNext(s.reader, "10")
		first, second = s.next(s.reader), s.next(other)
		s.stream.End(nil, errCut)
		synctest.Wait()
		first.wantPiece("cut short")
		second.wantPiece("cut short")
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
	play(t, "gives readers nothing more, also late ones", keeping(), func(s *scene) {
		s.write(block + 10)
		s.wantNext(s.reader, whole)
		s.stream.Abort(errCut)
		s.wantNext(s.reader, "cut short")
		s.wantNext(s.stream.NewReader(), "cut short")
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
		s.stream.End(nil, nil)
		s.stream.Abort(errCut)
		s.wantNext(s.reader, "cut short")
	})
	play(t, "is not undone by an end", memory(), func(s *scene) {
		s.stream.Abort(errCut)
		s.stream.End(nil, nil)
		s.wantNext(s.reader, "cut short")
	})
	play(t, "without a cause says that it has ended", memory(), func(s *scene) {
		s.stream.Abort(nil)
		s.wantNext(s.reader, stream.ErrEnded.Error())
		s.write(1).want(0, stream.ErrEnded, 0)
	})
}
