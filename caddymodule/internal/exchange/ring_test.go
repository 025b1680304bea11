package exchange

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
)

// script is a source of scripted bytes.
type script struct {
	sizes []byte
	next  byte
	all   []byte // that it has given
	end   error
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.sizes) == 0 {
		return 0, s.end
	}
	n := min(len(p), int(s.sizes[0])*300)
	s.sizes = s.sizes[1:]
	for i := range p[:n] {
		s.next = s.next*5 + 1
		p[i] = s.next
	}
	s.all = append(s.all, p[:n]...)
	if len(s.sizes) == 0 && s.next%2 == 0 {
		return n, s.end
	}
	return n, nil
}

func (s *script) Close() error { return nil }

// fuzzOwner is an owner that does nothing.
type fuzzOwner struct{ outlasts, endless bool }

func (fuzzOwner) Begin(*Exchange) error                { return nil }
func (fuzzOwner) Send(req *http.Request) *http.Request { return req }
func (fuzzOwner) Resends() int                         { return 1 }
func (fuzzOwner) Noticed()                             {}
func (fuzzOwner) Suspects() bool                       { return false }
func (o fuzzOwner) Endless(http.Header) bool           { return o.endless }
func (o fuzzOwner) Outlasts() bool                     { return o.outlasts }
func (fuzzOwner) End(*Exchange, bool)                  {}

// FuzzRing plays steps of the worker and the run against what the source has given.
func FuzzRing(f *testing.F) {
	f.Add([]byte{1, 200, 120, 0, 255}, []byte{0, 1, 1, 0, 0, 3, 7, 90, 200, 255}, false, false)
	f.Add([]byte{255, 255, 255, 255, 255, 255}, []byte{0, 9, 0, 9, 0, 9, 255, 8, 0, 254}, true, false)
	f.Add([]byte{}, []byte{1, 0}, false, false)
	f.Add([]byte{48}, []byte{48, 254, 49}, false, false) // a read after Close, with bytes left
	f.Add([]byte{7, 7, 7, 7, 7, 7}, []byte{0, 0, 0, 5, 0, 0, 9, 0, 90, 200, 90}, false, true)
	f.Fuzz(func(t *testing.T, sizes, steps []byte, fails, endless bool) {
		end := io.EOF
		if fails {
			end = errors.New("cut")
		}
		source := &script{sizes: sizes, end: end}
		x := begun(nil, nil, fuzzOwner{outlasts: fails, endless: endless})
		a := x.answered(&http.Response{StatusCode: 200, ContentLength: 1, Body: source}, nil)
		x.arrive(a)
		res := a.res
		var got []byte
		left, closed := false, false
		for i, step := range steps {
			switch {
			case step == 255 && i > 5:
				left = x.Leave(errAgain) || left
			case step == 254:
				res.Body.Close()
				closed = true
			case step%2 == 0: // the worker, where it would not wait
				if x.ring.err != nil || closed || left || len(x.ring.free()) == 0 {
					continue
				}
				room, _ := x.awaitRoom()
				n, err := source.Read(room)
				x.filled(n, err)
			default: // the run, where it would not wait
				if !closed && !left && x.ring.from == x.ring.to && x.ring.err == nil {
					continue
				}
				p := make([]byte, int(step)*200)
				n, err := res.Body.Read(p)
				got = append(got, p[:n]...)
				switch {
				case (closed || left) && err == nil && n > 0:
					t.Fatalf("read %d after the end", n)
				case err != nil && !closed && !left && (err != end || len(got) != len(source.all)):
					t.Fatalf("%v after %d of %d bytes", err, len(got), len(source.all))
				}
			}
			if !bytes.HasPrefix(source.all, got) {
				t.Fatalf("step %d: the bytes differ", i)
			}
		}
	})
}
