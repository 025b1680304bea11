package refresh_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/refresh"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var (
	errClosed = errors.New("closed")
	errFetch  = errors.New("no answer")
)

var lifetimes = refresh.Lifetimes{Fresh: 10 * time.Second, Stale: time.Minute, Retry: 2 * time.Second}

// fetchTime is how long source takes between the parts of a value.
const fetchTime = time.Second

// source publishes the numbers 10n+1 to 10n+parts in its nth fetch.
type source struct {
	group *refresh.Group
	*refresh.Cached[int]

	parts int
	mu    sync.Mutex
	err   error // of the next fetches, guarded by mu
	n     int   // fetches that have started, guarded by mu
}

// inBubble runs a test with a source of two parts and a fake clock.
func inBubble(t *testing.T, name string, test func(t *testing.T, s *source)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &source{group: refresh.NewGroup(errClosed), parts: 2}
			s.Cached = refresh.New(s.group, lifetimes, s.fetch)
			test(t, s)
			s.group.Close()
		})
	})
}

func (s *source) fetch(ctx context.Context, publish func(int)) error {
	s.mu.Lock()
	s.n++
	first, err := 10*s.n+1, s.err
	s.mu.Unlock()
	for part := range s.parts {
		select {
		case <-time.After(fetchTime):
			publish(first + part)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (s *source) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// expect gets a value of at least least, and compares it and the time that it took.
func (s *source) expect(t *testing.T, least, want int, within time.Duration) {
	t.Helper()
	began := time.Now()
	got, err := s.Get(t.Context(), func(n int) bool { return n >= least })
	if took := time.Since(began); got != want || err != nil || took != within {
		t.Errorf("at least %d: got %d, %v after %s, want %d after %s", least, got, err, took, want, within)
	}
}

// never is satisfied by no value.
func never(int) bool { return false }

func TestGet(t *testing.T) {
	t.Parallel()
	inBubble(t, "returns the first part that satisfies the caller", func(t *testing.T, s *source) {
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() { s.expect(t, 11, 11, fetchTime) })
			callers.Go(func() { s.expect(t, 12, 12, 2*fetchTime) })
			callers.Go(func() { s.expect(t, 1000, 12, 2*fetchTime) })
		}
		callers.Wait()
		if n := s.fetches(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
	inBubble(t, "returns a fresh value at once", func(t *testing.T, s *source) {
		s.expect(t, 12, 12, 2*fetchTime)
		<-time.After(lifetimes.Fresh - 1)
		s.expect(t, 12, 12, 0)
		synctest.Wait()
		if n := s.fetches(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
	inBubble(t, "returns a stale value at once, and refreshes it", func(t *testing.T, s *source) {
		s.expect(t, 12, 12, 2*fetchTime)
		<-time.After(lifetimes.Stale - 1)
		s.expect(t, 12, 12, 0)
		s.expect(t, 12, 12, 0)
		<-time.After(2*fetchTime + 1)
		s.expect(t, 12, 22, 0)
		if n := s.fetches(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
	inBubble(t, "waits where the value has expired", func(t *testing.T, s *source) {
		s.expect(t, 12, 12, 2*fetchTime)
		<-time.After(lifetimes.Stale)
		s.expect(t, 12, 21, fetchTime)
	})
	inBubble(t, "refreshes for a caller that is not satisfied, but not too often", func(t *testing.T, s *source) {
		s.expect(t, 12, 12, 2*fetchTime)
		<-time.After(lifetimes.Retry - 1)
		s.expect(t, 1000, 12, 0)
		<-time.After(1)
		s.expect(t, 1000, 22, 2*fetchTime)
	})
	inBubble(t, "has no stale values without a time for them", func(t *testing.T, s *source) {
		s.Cached = refresh.New(s.group, refresh.Lifetimes{Fresh: lifetimes.Fresh}, s.fetch)
		s.expect(t, 12, 12, 2*fetchTime)
		<-time.After(lifetimes.Fresh)
		s.expect(t, 12, 21, fetchTime)
	})
	inBubble(t, "caches an error until it may be retried", func(t *testing.T, s *source) {
		s.fail(errFetch)
		get := func() error {
			_, err := s.Get(t.Context(), never)
			return err
		}
		if err := get(); !errors.Is(err, errFetch) {
			t.Error(err)
		}
		s.fail(nil)
		<-time.After(lifetimes.Retry - 1)
		if err := get(); !errors.Is(err, errFetch) || s.fetches() != 1 {
			t.Errorf("%v after %d fetches", err, s.fetches())
		}
		<-time.After(1)
		if err := get(); err != nil {
			t.Error(err)
		}
	})
	inBubble(t, "returns the zero value if nothing is published", func(t *testing.T, s *source) {
		s.parts = 0
		s.expect(t, 1, 0, 0)
	})
}

func TestCallersThatLeave(t *testing.T) {
	t.Parallel()
	inBubble(t, "leave the refresh to the others", func(t *testing.T, s *source) {
		gone := errors.New("client has left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), fetchTime/2, gone)
		defer cancel()
		if _, err := s.Get(ctx, never); !errors.Is(err, gone) {
			t.Error(err)
		}
		s.expect(t, 12, 12, 2*fetchTime-fetchTime/2)
		if n := s.fetches(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	inBubble(t, "ends a refresh and its waiters", func(t *testing.T, s *source) {
		var waiter sync.WaitGroup
		waiter.Go(func() {
			if _, err := s.Get(t.Context(), never); !errors.Is(err, errClosed) {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.group.Close()
		waiter.Wait()
		s.group.Close()
	})
	inBubble(t, "leaves what is cached until it expires", func(t *testing.T, s *source) {
		s.expect(t, 12, 12, 2*fetchTime)
		s.group.Close()
		s.expect(t, 12, 12, 0)
		<-time.After(lifetimes.Fresh)
		s.expect(t, 12, 12, 0)
		<-time.After(lifetimes.Stale)
		if _, err := s.Get(t.Context(), never); !errors.Is(err, errClosed) || s.fetches() != 1 {
			t.Errorf("%v after %d fetches", err, s.fetches())
		}
	})
}
