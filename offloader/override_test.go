package offloader_test

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// override changes the override, and waits for its effects.
func (s *stage) override(change func(*offloader.Override)) {
	s.t.Helper()
	if err := s.pool.Override(change); err != nil {
		s.t.Fatal(err)
	}
	s.pass(0)
}

func (s *stage) wantOverridden(want map[string]string) {
	s.t.Helper()
	if got := overridden(s.pool); !maps.Equal(got, want) {
		s.t.Errorf("overridden: %v, want %v", got, want)
	}
}

// overridden maps the names of the settings that are overridden to their configured
// values.
func overridden(p *offloader.Pool) map[string]string {
	o, s := p.Snapshot().Overridden, p.Configured()
	all := map[string]string{}
	note := func(is bool, name string, value any) {
		if is {
			all[name] = fmt.Sprint(value)
		}
	}
	note(o.Concurrency != nil, "concurrency", s.Concurrency)
	note(o.Queue != nil, "queue", s.Queue)
	note(o.MaxWait != nil, "max wait", s.MaxWait)
	note(o.Order != nil, "order", s.Order)
	note(o.Linger != nil, "linger", s.Linger)
	note(o.PerKey != nil, "per key", s.PerKey)
	note(o.QueuePerKey != nil, "queue per key", s.QueuePerKey)
	if len(all) != o.Count() {
		panic(fmt.Sprintf("%d are overridden, not %d", len(all), o.Count()))
	}
	return all
}

func concurrency(n int) func(*offloader.Override) {
	return func(o *offloader.Override) { o.Concurrency = &n }
}

func reset(o *offloader.Override) { *o = offloader.Override{} }

func TestOverride(t *testing.T) {
	t.Parallel()
	play(t, "counts at once, and ends when it is reset", nil, func(s *stage) {
		all := s.arrivals(5)
		s.override(concurrency(3))
		s.want(all, "admitted admitted admitted waiting waiting")
		s.wantOverridden(map[string]string{"concurrency": "1"})
		s.override(reset)
		s.wantOverridden(nil)
		s.wantGauges("3 of 1 running, 2 waiting")
	})
	play(t, "leaves alone what it does not name", nil, func(s *stage) {
		before := s.pool.Settings()
		s.override(concurrency(3))
		s.override(func(o *offloader.Override) { o.Queue = new(20) })
		want := before
		want.Concurrency, want.Queue = 3, 20
		if got := s.pool.Settings(); !reflect.DeepEqual(got, want) {
			s.t.Errorf("settings are %+v, want %+v", got, want)
		}
		if got := s.pool.Configured(); !reflect.DeepEqual(got, before) {
			s.t.Errorf("configured are %+v, want %+v", got, before)
		}
		s.override(func(o *offloader.Override) { o.Concurrency = nil })
		s.wantOverridden(map[string]string{"queue": "10"})
	})
	play(t, "of all that can be overridden", nil, func(s *stage) {
		s.override(func(o *offloader.Override) {
			*o = offloader.Override{
				Concurrency: new(0), Queue: new(0), MaxWait: new(second),
				Order: new(offloader.OrderFIFO), Linger: new(2 * second), PerKey: new(3), QueuePerKey: new(4),
			}
		})
		if got, want := s.pool.Settings(), (offloader.Settings{
			MaxWait: second, Order: offloader.OrderFIFO, Linger: 2 * second, PerKey: 3, QueuePerKey: 4,
		}); !reflect.DeepEqual(got, want) {
			s.t.Errorf("settings are %+v, want %+v", got, want)
		}
		s.wantOverridden(map[string]string{
			"concurrency": "1", "queue": "10", "max wait": "0s", "order": "auto", "linger": "0s",
			"per key": "0", "queue per key": "0",
		})
	})
	play(t, "leaves the configured values to be seen", func(s *offloader.Settings) {
		s.Concurrency, s.MaxWait = 0, 90*second
	}, func(s *stage) {
		s.override(func(o *offloader.Override) { o.Concurrency, o.MaxWait = new(1), new(second) })
		s.wantOverridden(map[string]string{"concurrency": "0", "max wait": "1m30s"})
	})
	play(t, "a shorter wait counts for those who wait already", nil, func(s *stage) {
		s.arrive()
		waiter := s.arrive()
		s.pass(second)
		s.override(func(o *offloader.Override) { o.MaxWait = new(3 * second) })
		s.pass(2 * second)
		waiter.wantAnswer("wait_timeout", 3*second)
	})
	play(t, "what makes no sense changes nothing", nil, func(s *stage) {
		before := s.pool.Settings()
		err := s.pool.Override(concurrency(-1))
		if want := "pool 'reports': concurrency must not be negative"; errorText(err) != want {
			s.t.Errorf("error is %v, want %s", err, want)
		}
		if !reflect.DeepEqual(s.pool.Settings(), before) || s.pool.Overridden().Count() > 0 {
			s.t.Errorf("settings are %+v", s.pool.Settings())
		}
	})
}

// An override stays while the configuration stays the same.
func TestOverrideAndConfiguration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*offloader.Settings)
		stays  bool
	}{
		"the same settings":             {func(*offloader.Settings) {}, true},
		"an equal breaker":              {func(s *offloader.Settings) { s.Breaker = inARow(1) }, true},
		"a longer timeout of its users": {func(s *offloader.Settings) { s.LongestRun = time.Hour }, true},
		"another concurrency":           {func(s *offloader.Settings) { s.Concurrency = 2 }, false},
		"another queue":                 {func(s *offloader.Settings) { s.Queue = 2 }, false},
		"another breaker":               {func(s *offloader.Settings) { s.Breaker = inARow(2) }, false},
	} {
		play(t, name, fragile, func(s *stage) {
			s.override(concurrency(3))
			settings := s.pool.Configured()
			test.change(&settings)
			if err := s.pool.Configure(settings); err != nil {
				s.t.Fatal(err)
			}
			want := settings
			if test.stays {
				want.Concurrency = 3
			}
			if got := s.pool.Settings(); !reflect.DeepEqual(got, want) {
				s.t.Errorf("settings are %+v, want %+v", got, want)
			}
			if got := s.pool.Overridden().Count() > 0; got != test.stays {
				s.t.Errorf("overridden: %t", got)
			}
		})
	}
}
