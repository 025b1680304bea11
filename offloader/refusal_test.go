package offloader_test

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func noQueue(s *offloader.Settings) { s.Concurrency, s.Queue = 2, 0 }

// A full pool without a queue rejects until a permit is free again, for whatever reason.
func TestFullPool(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(s *stage, all []*caller){
		"a run ends":             func(_ *stage, all []*caller) { all[1].release(offloader.Success) },
		"there are more permits": func(s *stage, _ []*caller) { s.resize(3, 0) },
		"there is a queue":       func(s *stage, _ []*caller) { s.resize(2, 1) },
		"a lingering permit is back": func(s *stage, all []*caller) {
			all[1].finished = true
			all[1].permit.ReleaseCancelled(offloader.Excluded)
			s.want(s.arrivals(1), "queue_full")
			s.pass(time.Minute)
		},
	} {
		play(t, name, func(s *offloader.Settings) {
			noQueue(s)
			s.Linger = time.Minute
		}, func(s *stage) {
			all := s.arrivals(3)
			s.want(all, "admitted admitted queue_full")
			free(s, all)
			if got := s.arrive().state(); got != "admitted" && got != "waiting" {
				s.t.Errorf("a newcomer is %s", got)
			}
		})
	}
	play(t, "a paused pool is full without a run", noQueue, func(s *stage) {
		s.pool.Pause()
		s.want(s.arrivals(2), "queue_full queue_full")
		s.pool.Resume()
		s.want(s.arrivals(1), "admitted")
	})
	play(t, "a pool that drains has another reason", noQueue, func(s *stage) {
		s.want(s.arrivals(3), "admitted admitted queue_full")
		s.pool.Drain(ended(errLeft))
		s.want(s.arrivals(1), "draining")
	})
	play(t, "a capped caller is rejected with its own reason", noQueue, func(s *stage) {
		s.want([]*caller{s.stream(), s.arrive(), s.arrive(), s.stream()}, "admitted admitted queue_full unspooled_limit")
	})
	play(t, "the warm-up fills it with one run", func(s *offloader.Settings) {
		noQueue(s)
		s.Breaker = inARow(1)
	}, func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
		s.outcomes("s")
		s.want(s.arrivals(2), "admitted queue_full")
		s.pass(10 * second)
		s.want(s.arrivals(2), "admitted queue_full")
	})
	play(t, "a predecessor fills it and gives permits back", noQueue, func(s *stage) {
		all := s.arrivals(2)
		heir := s.open(offloader.Settings{Concurrency: 2})
		succeed(s.t, heir, s.pool).Bind()
		s.want([]*caller{s.arriveIn(heir, nil)}, "queue_full")
		all[0].release(offloader.Success)
		s.want([]*caller{s.arriveIn(heir, nil), s.arriveIn(heir, nil)}, "admitted queue_full")
	})
}

// resize changes the numbers of permits and of places in the queue.
func (s *stage) resize(permits, queue int) {
	s.t.Helper()
	settings := s.pool.Settings()
	settings.Concurrency, settings.Queue = permits, queue
	if err := s.pool.Configure(settings); err != nil {
		s.t.Fatal(err)
	}
}
