package spool_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// owner is a client in a pool.
type owner struct {
	client byte
	pool   string
}

func (o owner) Owner() spool.Owner { return spool.Owner{Client: [16]byte{15: o.client}, Pool: o.pool} }

// owned is a body of an owner's.
type owned struct {
	io.Reader
	owner
}

// readFor spools n bytes of an owner's.
func readFor(budget *spool.Budget, o owner, n int, bounds spool.Bounds) (*spool.Body, error) {
	return spool.ReadBody(owned{zeros(n), o}, int64(n), budget, bounds)
}

func zeros(n int) io.Reader {
	return io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), int64(n))
}

// fillUp takes bodies of that size until one is rejected, and returns how many.
func fillUp(t *testing.T, budget *spool.Budget, o owner, n int) int {
	t.Helper()
	bounds := spool.Bounds{Memory: int64(n)}
	for i := range 10_000 {
		body, err := readFor(budget, o, n, bounds)
		if errors.Is(err, spool.ErrFull) {
			return i
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(body.Close)
	}
	t.Fatal("nothing is refused")
	return 0
}

// An owner that has taken all it can leaves room for owners with less.
func TestOwnersLeaveRoom(t *testing.T) {
	t.Parallel()
	const share = 120 // blocks for request bodies
	first := owner{1, "a"}
	for name, test := range map[string]struct {
		before    []owner
		next      owner
		want, few int // bodies of two blocks, and of one
	}{
		"a client alone gets two thirds":                           {nil, first, 40, 20},
		"another client in the same pool finds room":               {[]owner{first}, owner{2, "a"}, 13, 7},
		"another client in another pool too":                       {[]owner{first}, owner{2, "b"}, 13, 7},
		"and so does the same client":                              {[]owner{first}, owner{1, "b"}, 13, 7},
		"two clients of one pool leave room for a third":           {[]owner{first, {2, "a"}}, owner{3, "a"}, 2, 5},
		"and for one of another pool":                              {[]owner{first, {2, "a"}}, owner{3, "b"}, 4, 3},
		"a client in all pools leaves room for one with no bodies": {[]owner{first, {1, "b"}, {1, "c"}, {1, "d"}}, owner{2, "d"}, 4, 3},
		"clients without address are one":                          {[]owner{{0, "a"}}, owner{0, "a"}, 0, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := budgetOf(t, twice(spool.Limits{Memory: share * block, Uploads: 1}))
			for _, o := range test.before {
				fillUp(t, budget, o, 2*block)
			}
			if got := fillUp(t, budget, test.next, 2*block); got != test.want {
				t.Errorf("%d bodies of two blocks fit, want %d", got, test.want)
			}
			if got := fillUp(t, budget, test.next, block); got != test.few {
				t.Errorf("%d bodies of one block fit then, want %d", got, test.few)
			}
		})
	}
}

// Bodies and streams cannot have each other's half, in memory or on disk.
func TestHalves(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]spool.Bounds{"memory": {Memory: 100 * block}, "disk": {File: 100 * block}} {
		for _, taken := range []spool.Holder{spool.OfBody, spool.OfStream} {
			t.Run(fmt.Sprint(name, taken), func(t *testing.T) {
				t.Parallel()
				budget := budgetOf(t, spool.Limits{Memory: 10 * block, Disk: 10 * block})
				for _, h := range []spool.Holder{taken, 1 - taken} {
					s := new(spool.Store)
					s.Init(budget, bounds, h)
					defer s.Close()
					n := 0
					for {
						b, err := s.Alloc(0)
						if err != nil {
							break
						}
						defer s.Free(b)
						n++
					}
					if n != 5 {
						t.Errorf("%d blocks of 10 fit", n)
					}
				}
			})
		}
	}
}

// Bytes that were given back or rejected do not count.
func TestOwnersGiveBack(t *testing.T) {
	t.Parallel()
	budget := budgetOf(t, twice(spool.Limits{Memory: 3 * block, Disk: 9 * block, Uploads: 1}))
	bounds := spool.Bounds{Memory: 2 * block, File: 100 * block}
	for range 5 {
		body, err := readFor(budget, owner{1, "a"}, 8*block, bounds)
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		body, err = readFor(budget, owner{1, "a"}, 9*block, bounds)
		wantFull(t, body, err)
	}
}

// begin begins uploads until none fits, and returns how many.
func begin(t *testing.T, budget *spool.Budget, source any) int {
	t.Helper()
	for i := range 10_000 {
		u := budget.BeginUpload(source)
		if u == nil {
			return i
		}
		t.Cleanup(u.End)
	}
	t.Fatal("nothing is refused")
	return 0
}

// Uploads are shared in the same way, but that an owner that needs few of them
// gets them.
func TestOwnersLeavePlaces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ places, first, second int }{
		{1, 1, 0}, {3, 3, 0}, {4, 3, 1}, {8, 6, 2}, {20, 14, 5}, {1000, 667, 223},
	} {
		budget := budgetOf(t, spool.Limits{Uploads: test.places})
		if got := begin(t, budget, owner{1, "a"}); got != test.first {
			t.Errorf("one client gets %d of %d places, want %d", got, test.places, test.first)
		}
		if got := begin(t, budget, owner{2, "b"}); got != test.second {
			t.Errorf("then another gets %d of %d, want %d", got, test.places, test.second)
		}
	}
}

// An owner that has too many uploads loses its own when they trickle, and no other owner
// else's.
func TestOwnersReplaceTheirOwnUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := budgetOf(t, spool.Limits{Memory: 20 * block, Uploads: 5, MinRate: 500})
		other := readSlowly(budget, ownedTrickle{newTrickle(1, 10, time.Second), owner{2, "a"}})
		synctest.Wait()
		own := readSlowly(budget, ownedTrickle{newTrickle(2, 20, time.Second), owner{1, "a"}})
		<-time.After(6 * time.Second)
		for range 2 {
			defer budget.BeginUpload(owner{1, "a"}).End()
		}
		body, err := readFor(budget, owner{1, "a"}, 100, spool.Bounds{Memory: block})
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		if err := <-own; !errors.Is(err, spool.ErrTooSlow) {
			t.Errorf("its own got %v", err)
		}
		if err := <-other; err != nil {
			t.Errorf("another's got %v", err)
		}
	})
}

// ownedTrickle is a slow body of an owner's.
type ownedTrickle struct {
	*trickle
	owner
}

// paced is a body of an owner's that comes piece by piece, as the test sends them.
type paced struct {
	owner
	pieces chan int
}

func (p paced) Read(b []byte) (int, error) {
	n, ok := <-p.pieces
	if !ok {
		return 0, io.EOF
	}
	return min(n, len(b)), nil
}

// Of uploads that come at once and do not all fit, the newest are rejected, and those
// before them go on, although they are the first that meet the limit.
func TestNewestUploadIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const blocks = 9
		budget := budgetOf(t, twice(spool.Limits{Memory: 30 * block, Uploads: 10}))
		var all []paced
		var ends []<-chan error
		for range 4 {
			p := paced{owner{1, "a"}, make(chan int)}
			all = append(all, p)
			ends = append(ends, readBehind(budget, p, blocks*block, spool.Bounds{Memory: blocks * block}))
			synctest.Wait()
		}
		for range blocks {
			for _, p := range all {
				select {
				case p.pieces <- block:
				default: // it is rejected
				}
				synctest.Wait()
			}
		}
		for i, p := range all {
			close(p.pieces)
			want := []error{nil, nil, spool.ErrFull, spool.ErrFull}[i]
			if err := <-ends[i]; !errors.Is(err, want) {
				t.Errorf("upload %d: error %v, want %v", i, err, want)
			}
		}
	})
}
