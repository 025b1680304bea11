package spool_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// A body in one piece is the same, and takes as much memory as it has bytes and no file.
func TestLoad(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]spool.Bounds{
		"from memory": {Memory: 4 * block}, "from a file": {File: 4 * block}, "from both": {Memory: block, File: 3 * block},
	} {
		for _, size := range []int{0, 1, block - 1, block, block + 1, 3*block + 100, 4 * block} {
			budget := roomy(t)
			body := mustRead(t, budget, size, bounds)
			got, err := body.Load(nil)
			if err != nil || !bytes.Equal(got, bytesOf(size)) {
				t.Errorf("%s, %d bytes: got %d, %v", name, size, len(got), err)
			}
			if used := budget.Usage(); used.Disk != 0 && size > block || used.Memory > int64(size)+block/2 {
				t.Errorf("%s, %d bytes: %+v is used", name, size, used)
			}
			again, err := body.Load(nil)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("%s, %d bytes: got %d the next time, %v", name, size, len(again), err)
			}
			body.Close()
			wantUsage(t, budget, spool.Usage{})
		}
	}
}

// A body waits for memory that others hold, but not for more than the budget has.
func TestLoadWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := budgetOf(t, twice(spool.Limits{Memory: 4 * block, Disk: 20 * block, Uploads: 1}))
		bounds := spool.Bounds{File: 10 * block}
		load := func(body *spool.Body, done <-chan struct{}) <-chan error {
			ended := make(chan error, 1)
			go func() {
				_, err := body.Load(done)
				ended <- err
			}()
			synctest.Wait()
			return ended
		}
		first, second := mustRead(t, budget, 3*block, bounds), mustRead(t, budget, 3*block, bounds)
		if err := <-load(first, nil); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		waits := load(second, done)
		close(done)
		if err := <-waits; !errors.Is(err, spool.ErrFull) {
			t.Errorf("a wait that is called off: %v", err)
		}
		waits = load(second, nil)
		select {
		case err := <-waits:
			t.Errorf("it does not wait: %v", err)
		default:
		}
		first.Close()
		if err := <-waits; err != nil {
			t.Errorf("with room: %v", err)
		}
		second.Close()
		large := mustRead(t, budget, 5*block, bounds)
		if err := <-load(large, nil); !errors.Is(err, spool.ErrFull) {
			t.Errorf("more than there is: %v", err)
		}
		large.Close()
	})
}
