package spool_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

func storeOf(t *testing.T, budget *spool.Budget, bounds spool.Bounds) *spool.Store {
	t.Helper()
	s := new(spool.Store)
	s.Init(budget, bounds, spool.OfBody)
	t.Cleanup(s.Close)
	return s
}

// fill takes a block and fills it with a letter.
func fill(t *testing.T, s *spool.Store, letter byte) *spool.Block {
	t.Helper()
	b, err := s.Alloc(0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Write(b, bytes.Repeat([]byte{letter}, 2*block)) // as much as fits
	if err != nil || n != b.Room() || b.Len() != 0 {
		t.Fatalf("wrote %d, %v", n, err)
	}
	b.Advance(n)
	return b
}

func wantLetters(t *testing.T, s *spool.Store, b *spool.Block, letter byte) {
	t.Helper()
	got, err := s.Read(b, 0, b.Len(), make([]byte, b.Len()))
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{letter}, b.Len())) {
		t.Errorf("a block of %c has other bytes, %v", letter, err)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	t.Run("are given back and used again, and the file does not grow", func(t *testing.T) {
		t.Parallel()
		budget := roomy(t)
		s := storeOf(t, budget, spool.Bounds{Memory: block + 10, File: 2*block + 10})
		var all []*spool.Block
		for i := range 5 { // 1 and 10 bytes of memory, 2 and 10 bytes of file
			all = append(all, fill(t, s, 'a'+byte(i)))
		}
		if _, err := s.Alloc(0); !errors.Is(err, spool.ErrTooLarge) {
			t.Errorf("error %v", err)
		}
		for i := range 20 {
			wantUsage(t, budget, spool.Usage{Memory: block + 10, Disk: 3 * block})
			at := i * 7 % 5
			wantLetters(t, s, all[at], 'a'+byte(at))
			s.Free(all[at])
			all[at] = fill(t, s, 'a'+byte(at))
		}
		for i, b := range all {
			wantLetters(t, s, b, 'a'+byte(i))
			s.Free(b)
		}
		wantUsage(t, budget, spool.Usage{Disk: 3 * block}) // until Close
	})
	t.Run("in a file that cannot grow stay within it", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, twice(spool.Limits{Disk: 2 * block}))
		s := storeOf(t, budget, spool.Bounds{File: 10 * block})
		first, second := fill(t, s, 'a'), fill(t, s, 'b')
		if _, err := s.Alloc(0); !errors.Is(err, spool.ErrFull) {
			t.Errorf("error %v", err)
		}
		s.Free(first)
		first = fill(t, s, 'c')
		wantLetters(t, s, first, 'c')
		wantLetters(t, s, second, 'b')
		wantUsage(t, budget, spool.Usage{Disk: 2 * block})
	})
	t.Run("are no larger than what is to come", func(t *testing.T) {
		t.Parallel()
		budget := roomy(t)
		s := storeOf(t, budget, spool.Bounds{Memory: 10 * block})
		for _, hint := range []int64{1, block / 2, block, 2 * block} {
			b, err := s.Alloc(hint)
			if want := min(hint, block); err != nil || int64(b.Room()) != want || !b.InMemory() {
				t.Errorf("%d bytes to come: room for %d, %v", hint, b.Room(), err)
			}
			wantUsage(t, budget, spool.Usage{Memory: min(hint, block)})
			s.Free(b)
		}
	})
	t.Run("shrink to what they hold if that is worth it", func(t *testing.T) {
		t.Parallel()
		for _, test := range []struct{ holds, keeps int64 }{{1, 1}, {block / 2, block / 2}, {block/2 + 1, block}, {block, block}} {
			budget := roomy(t)
			s := storeOf(t, budget, spool.Bounds{Memory: block})
			b, err := s.Alloc(0)
			if err != nil {
				t.Fatal(err)
			}
			n, err := s.Write(b, bytes.Repeat([]byte{'a'}, int(test.holds)))
			if err != nil {
				t.Fatal(err)
			}
			b.Advance(n)
			s.Shrink(b)
			wantUsage(t, budget, spool.Usage{Memory: test.keeps})
			wantLetters(t, s, b, 'a')
			if rest, err := s.Alloc(0); (err == nil) != (test.keeps < block) {
				t.Errorf("after %d bytes: %v", test.holds, err)
			} else if err == nil {
				s.Free(rest)
			}
			s.Free(b)
		}
	})
	t.Run("in a file do not shrink", func(t *testing.T) {
		t.Parallel()
		budget := roomy(t)
		s := storeOf(t, budget, spool.Bounds{File: block})
		b, err := s.Alloc(0)
		if err != nil {
			t.Fatal(err)
		}
		s.Shrink(b)
		if b.Room() != block {
			t.Errorf("room for %d", b.Room())
		}
	})
}

// Lent blocks exceed all bounds until there is room for them.
func TestLentBlocks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bounds  int64
		settles bool
	}{"bounds of enough": {block, true}, "bounds of less": {block - 1, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := budgetOf(t, twice(spool.Limits{Memory: block - 1}))
			s := storeOf(t, budget, spool.Bounds{Memory: test.bounds})
			b := s.Lend(bytes.Repeat([]byte{'a'}, 2*block)) // as much as fits
			wantLetters(t, s, b, 'a')
			if b.Len() != block || b.Room() != 0 || s.Settle(b) {
				t.Errorf("%d bytes, room for %d, or settled without a budget", b.Len(), b.Room())
			}
			wantUsage(t, budget, spool.Usage{})
			budget.Configure(twice(spool.Limits{Memory: block}))
			if got := s.Settle(b); got != test.settles {
				t.Errorf("settled: %t", got)
			}
			if test.settles {
				wantUsage(t, budget, spool.Usage{Memory: block})
			}
			wantLetters(t, s, b, 'a')
			s.Free(b)
			wantUsage(t, budget, spool.Usage{})
		})
	}
}

// Bytes that the disk took before it was full stay there, and the rest goes elsewhere.
func TestBlocksOfAFullDisk(t *testing.T) {
	t.Parallel()
	testkit.WithFileLimit(t, block+100, func(t *testing.T) {
		budget := roomy(t)
		s := storeOf(t, budget, spool.Bounds{File: 3 * block})
		whole, b := fill(t, s, 'a'), (*spool.Block)(nil)
		b, err := s.Alloc(0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.Write(b, []byte("bb"))
		if err != nil {
			t.Fatal(err)
		}
		b.Advance(n)
		if n, err := s.Write(b, make([]byte, block)); n != 0 || !errors.Is(err, spool.ErrFull) {
			t.Errorf("wrote %d, %v", n, err)
		}
		s.Seal(b)
		if b.Room() != 0 || b.Len() != 2 || !errors.Is(s.Broken(), spool.ErrFull) {
			t.Errorf("room for %d, broken by %v", b.Room(), s.Broken())
		}
		if _, err := s.Alloc(0); !errors.Is(err, spool.ErrFull) {
			t.Errorf("error %v", err)
		}
		wantLetters(t, s, whole, 'a')
		wantLetters(t, s, b, 'b')
		s.Free(b)
		s.Free(whole)
	})
}
