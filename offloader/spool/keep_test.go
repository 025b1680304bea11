package spool_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// The beginning of a body whose source fails can be kept, and its readers end with the
// error of the source.
func TestBodiesThatAreNotWhole(t *testing.T) {
	t.Parallel()
	closed := errors.New("closed")
	for name, test := range map[string]struct {
		came  int
		hint  int64
		fails error // nil: the source ends too early
		end   error
	}{
		"nothing came, length unknown": {0, -1, closed, closed},
		"nothing came":                 {0, 100, closed, closed},
		"a part came":                  {2*block + 5, 3 * block, closed, closed},
		"a part came, length unknown":  {2*block + 5, -1, closed, closed},
		"it is shorter":                {50, 100, nil, io.EOF},
		"it is nothing":                {0, 100, nil, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := io.Reader(bytes.NewReader(bytesOf(test.came)))
			if test.fails != nil {
				source = io.MultiReader(source, iotest.ErrReader(test.fails))
			}
			body, err := spool.ReadPart(source, test.hint, roomy(t), spool.Bounds{Memory: block, File: 4 * block})
			failed, ok := errors.AsType[*spool.ReadError](err)
			if !ok || body == nil {
				t.Fatal(err)
			}
			body.EndWith(failed.End())
			defer body.Close()
			if body.Size() != int64(test.came) || !errors.Is(body.Err(), test.end) {
				t.Errorf("%d bytes that end with %v", body.Size(), body.Err())
			}
			for range 2 {
				got, err := io.ReadAll(body.Open())
				if !bytes.Equal(got, bytesOf(test.came)) || !errors.Is(err, test.fails) {
					t.Errorf("read %d bytes, then %v", len(got), err)
				}
			}
		})
	}
}

// Reading fails after its deadline, for all readers, until it is taken back.
func TestReadDeadline(t *testing.T) {
	t.Parallel()
	body, err := spool.ReadBody(bytes.NewReader(bytesOf(100)), 100, roomy(t), spool.Bounds{Memory: block})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	r := body.Open()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	body.SetReadDeadline(time.Now())
	for _, r := range []io.Reader{r, body.Open()} {
		if n, err := r.Read(make([]byte, 10)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v", n, err)
		}
	}
	body.SetReadDeadline(time.Time{})
	if rest, err := io.ReadAll(r); len(rest) != 90 || err != nil {
		t.Errorf("then %d bytes, %v", len(rest), err)
	}
	body.SetReadDeadline(time.Now().Add(time.Hour))
	if all, err := io.ReadAll(body.Open()); len(all) != 100 || err != nil {
		t.Errorf("within the deadline %d bytes, %v", len(all), err)
	}
}
