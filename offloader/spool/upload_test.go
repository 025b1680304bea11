package spool_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

var errStopped = errors.New("stopped")

// trickle is a body that brings n bytes after each pause, until it has brought
// all.
type trickle struct {
	n, all  int
	pause   time.Duration
	stopped chan struct{}
}

func newTrickle(n, all int, pause time.Duration) *trickle {
	return &trickle{n, all, pause, make(chan struct{})}
}

func (s *trickle) Read(p []byte) (int, error) {
	select {
	case <-s.stopped:
		return 0, errStopped
	case <-time.After(s.pause):
	}
	if s.all <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), s.n, s.all)
	s.all -= n
	return n, nil
}

func (s *trickle) Stop() { close(s.stopped) }

// unstoppable hides that a source can be stopped.
type unstoppable struct{ io.Reader }

// readSlowly reads src in the background. The result comes when it has ended.
func readSlowly(budget *spool.Budget, src io.Reader) <-chan error {
	return readBehind(budget, src, -1, spool.Bounds{Memory: block})
}

func readBehind(budget *spool.Budget, src io.Reader, hint int64, bounds spool.Bounds) <-chan error {
	done := make(chan error, 1)
	go func() {
		body, err := spool.ReadBody(src, hint, budget, bounds)
		if err == nil {
			body.Close()
		}
		done <- err
	}()
	return done
}

func TestLeastRateOfUploads(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		n, all int
		pause  time.Duration
		rate   int64
		want   error
		took   time.Duration
	}{
		"who brings a byte a second is ended after a minute": {1, 600, time.Second, 500, spool.ErrTooSlow, 62 * time.Second},
		"who brings enough may take all day":                 {500, 50_000, time.Second, 500, nil, 101 * time.Second},
		"a pause is no crime":                                {300, 900, 59 * time.Second, 5, nil, 4 * 59 * time.Second},
		"without a least rate anything goes":                 {1, 100, time.Minute, 0, nil, 101 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				budget := budgetOf(t, spool.Limits{Memory: 10 * block, Uploads: 1, MinRate: test.rate})
				start := time.Now()
				if err := <-readSlowly(budget, newTrickle(test.n, test.all, test.pause)); !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
			})
		})
	}
}

// After a fast start an upload may not trickle for hours.
func TestLeastRateForgetsAFastStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := budgetOf(t, spool.Limits{Memory: 10 * block, Uploads: 1, MinRate: 500})
		start := time.Now()
		src := io.MultiReader(newTrickle(50_000, 50_000, 0), newTrickle(1, 5000, time.Second))
		if err := <-readSlowly(budget, src); !errors.Is(err, spool.ErrTooSlow) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 61*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// When there are as many uploads as may be, the slowest below the least rate gives way at once.
func TestTrickleStarvesNobody(t *testing.T) {
	t.Parallel()
	limits := spool.Limits{Memory: 10 * block, Uploads: 3, MinRate: 500}
	t.Run("the slowest has to leave", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			budget := budgetOf(t, limits)
			good := readSlowly(budget, newTrickle(600, 30_000, time.Second))
			slow := readSlowly(budget, newTrickle(200, 4000, time.Second))
			slowest := readSlowly(budget, newTrickle(1, 20, time.Second))
			<-time.After(6 * time.Second)
			mustRead(t, budget, 100, spool.Bounds{Memory: block}).Close()
			if err := <-slowest; !errors.Is(err, spool.ErrTooSlow) {
				t.Errorf("the slowest got %v", err)
			}
			for _, other := range []<-chan error{good, slow} {
				if err := <-other; err != nil {
					t.Errorf("another got %v", err)
				}
			}
		})
	})
	t.Run("but nobody who is fast enough, has just begun, or cannot be stopped", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			budget := budgetOf(t, limits)
			good := readSlowly(budget, newTrickle(600, 6000, time.Second))
			stuck := readSlowly(budget, unstoppable{newTrickle(1, 10, time.Second)})
			<-time.After(6 * time.Second)
			fresh := readSlowly(budget, newTrickle(1, 2, time.Second))
			<-time.After(2 * time.Second)
			body, err := read(budget, 100, spool.Bounds{Memory: block})
			wantFull(t, body, err)
			for _, other := range []<-chan error{good, stuck, fresh} {
				if err := <-other; err != nil {
					t.Errorf("another got %v", err)
				}
			}
		})
	})
}
