package offloader_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestSettingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(s *offloader.Settings)
		want   string
	}{
		"concurrency": {func(s *offloader.Settings) { s.Concurrency = -1 }, "concurrency must not be negative"},
		"queue":       {func(s *offloader.Settings) { s.Queue = -1 }, "queue must not be negative"},
		"max wait":    {func(s *offloader.Settings) { s.MaxWait = -1 }, "max_wait must not be negative"},
		"linger":      {func(s *offloader.Settings) { s.Linger = -1 }, "linger must not be negative"},
		"order":       {func(s *offloader.Settings) { s.Order = 2 }, "unknown order 2"},
		"two at once": {
			func(s *offloader.Settings) { s.Queue, s.Concurrency = -1, -1 },
			"concurrency must not be negative\nqueue must not be negative",
		},
		"negative ratio": {
			func(s *offloader.Settings) { s.Breaker.FailureRatio = -0.1 },
			"breaker failure_ratio must be between 0 and 1, not -0.1",
		},
		"ratio above one": {
			func(s *offloader.Settings) { s.Breaker.FailureRatio = 1.1 },
			"breaker failure_ratio must be between 0 and 1, not 1.1",
		},
		"ratio that is no number": {
			func(s *offloader.Settings) { s.Breaker.FailureRatio = math.NaN() },
			"breaker failure_ratio must be between 0 and 1, not NaN",
		},
		"ratio without volume": {
			func(s *offloader.Settings) { s.Breaker.MinRequests = 0 },
			"breaker min_requests must be at least 1",
		},
		"no rule": {
			func(s *offloader.Settings) { s.Breaker.FailureRatio = 0 },
			"breaker has no rule: set failure_ratio, consecutive_failures or slow_ratio",
		},
		"failures": {
			func(s *offloader.Settings) { s.Breaker.ConsecutiveFailures = -1 },
			"breaker consecutive_failures must not be negative",
		},
		"cool-down":     {func(s *offloader.Settings) { s.Breaker.CoolDown = 0 }, "breaker cool_down must be positive"},
		"probes":        {func(s *offloader.Settings) { s.Breaker.Probes = 0 }, "breaker probes must be at least 1"},
		"probe timeout": {func(s *offloader.Settings) { s.Breaker.ProbeTimeout = -1 }, "breaker probe_timeout must not be negative"},
		"window":        {func(s *offloader.Settings) { s.Breaker.Window = -1 }, "breaker window must not be negative"},

		"the defaults":    {func(*offloader.Settings) {}, ""},
		"all zero":        {func(s *offloader.Settings) { *s = offloader.Settings{} }, ""},
		"order fifo":      {func(s *offloader.Settings) { s.Order = offloader.OrderFIFO }, ""},
		"ratio of one":    {func(s *offloader.Settings) { s.Breaker.FailureRatio = 1 }, ""},
		"volume of one":   {func(s *offloader.Settings) { s.Breaker.MinRequests = 1 }, ""},
		"in a row alone":  {func(s *offloader.Settings) { *s.Breaker = *inARow(1) }, ""},
		"short cool-down": {func(s *offloader.Settings) { s.Breaker.CoolDown = 1 }, ""},
		"short window":    {func(s *offloader.Settings) { s.Breaker.Window = 1 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := offloader.DefaultSettings()
			test.change(&s)
			want := ""
			if test.want != "" {
				want = "pool 'reports': " + test.want
			}
			p, err := offloader.New("reports", s)
			if got := errorText(err); got != want {
				t.Fatalf("error %q, want %q", got, want)
			}
			if err == nil && p.Name() != "reports" {
				t.Errorf("its name is %q", p.Name())
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A pool without settings has the documented defaults.
func TestDefaultSettings(t *testing.T) {
	t.Parallel()
	s := offloader.DefaultSettings()
	b := *s.Breaker
	s.Breaker = nil
	if want := (offloader.Settings{Concurrency: 8, Queue: 100, MaxWait: 10 * time.Second}); !reflect.DeepEqual(s, want) {
		t.Errorf("defaults are %+v", s)
	}
	if want := (offloader.BreakerSettings{FailureRatio: 0.5, MinRequests: 20, CoolDown: 10 * time.Second, Probes: 1, Statuses: "5xx"}); b != want {
		t.Errorf("defaults of the breaker are %+v", b)
	}
}

func TestOrdersHaveNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]offloader.Order{
		"": offloader.OrderAuto, "auto": offloader.OrderAuto, "fifo": offloader.OrderFIFO,
	} {
		got, err := offloader.ParseOrder(name)
		if err != nil || got != want || (name != "" && got.String() != name) {
			t.Errorf("order %q is %v, %v", name, got, err)
		}
	}
	if _, err := offloader.ParseOrder("lifo"); errorText(err) != "unknown order 'lifo': want 'auto' or 'fifo'" {
		t.Errorf("error: %v", err)
	}
}
