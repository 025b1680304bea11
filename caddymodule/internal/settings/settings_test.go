package settings

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// sample has a value other than zero and the default for each setting.
func sample() offloader.Settings {
	return offloader.Settings{
		Concurrency: 3, Queue: 4, MaxWait: time.Minute, Order: offloader.OrderFIFO, Linger: 2 * time.Hour, LongestRun: time.Hour,
		Breaker: &offloader.BreakerSettings{
			FailureRatio: 0.25, MinRequests: 5, ConsecutiveFailures: 6,
			Window: 90 * time.Second, CoolDown: 7 * time.Second, Probes: 8, ProbeTimeout: 9 * time.Second,
		},
	}
}

func TestSettingsAreShown(t *testing.T) {
	t.Parallel()
	got := View(sample())
	breaker, _ := got["breaker"].(map[string]any)
	delete(got, "breaker")
	if want := map[string]any{"concurrency": 3, "queue": 4, "max_wait": "1m", "order": "fifo", "linger": "2h"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if want := map[string]any{
		"failure_ratio": 0.25, "min_requests": 5, "consecutive_failures": 6,
		"window": "1m30s", "cool_down": "7s", "probes": 8, "probe_timeout": "9s",
	}; !maps.Equal(breaker, want) {
		t.Errorf("got %v, want %v", breaker, want)
	}
	got = View(offloader.Settings{})
	if want := map[string]any{"concurrency": "off", "queue": 0, "max_wait": "off", "order": "auto", "linger": "off", "breaker": "off"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChangesAreFound(t *testing.T) {
	t.Parallel()
	none := offloader.Settings{}
	from, to := Changed(none, sample())
	want := map[string]string{
		"concurrency": "3", "queue": "4", "max_wait": "1m0s", "order": "fifo", "linger": "2h0m0s", "longest_timeout": "1h0m0s",
		"breaker": "on", "breaker.failure_ratio": "0.25", "breaker.min_requests": "5", "breaker.consecutive_failures": "6",
		"breaker.window": "1m30s", "breaker.cool_down": "7s", "breaker.probes": "8", "breaker.probe_timeout": "9s",
	}
	if !maps.Equal(to, want) {
		t.Errorf("got %v, want %v", to, want)
	}
	if got, want := slices.Sorted(maps.Keys(from)), slices.Sorted(maps.Keys(to)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if from["queue"] != "0" || from["order"] != "auto" || from["concurrency"] != "off" || from["breaker.probes"] != "off" {
		t.Errorf("got %v", from)
	}
	if _, to := Changed(sample(), sample()); len(to) != 0 {
		t.Errorf("the same settings differ in %v", to)
	}
}

// A value that is read, encoded, applied and shown is the value that was written.
func TestValuesStayTheSame(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"concurrency": "12", "queue": "0", "max_wait": "off", "order": "fifo", "linger": "1m",
		"failure_ratio": "0.1", "min_requests": "9", "consecutive_failures": "2", "window": "5m", "cool_down": "3s", "probes": "4", "probe_timeout": "6s",
	} {
		table := Pool
		if slices.Contains(Breaker.Names(), name) {
			table = Breaker
		}
		object, err := table.JSON(name, value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := offloader.DefaultSettings()
		if err := table.Apply(&s, rawJSON(object)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		setting, err := table.find(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := textOrOff(setting.view(&s)); got != value {
			t.Errorf("%s: got %s, want %s", name, got, value)
		}
	}
}

type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

func TestOverridesAreListed(t *testing.T) {
	t.Parallel()
	var o offloader.Override
	if got := Overridable.Overridden(o, sample()); got != nil {
		t.Errorf("got %v", got)
	}
	for _, name := range Overridable.Names() {
		value := map[string]string{"order": "auto", "max_wait": "1s", "linger": "1s"}[name]
		if value == "" {
			value = "1"
		}
		if err := Overridable.Override(&o, name, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := map[string]string{"concurrency": "3", "queue": "4", "max_wait": "1m0s", "order": "fifo", "linger": "2h0m0s"}
	if got := Overridable.Overridden(o, sample()); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, name := range Overridable.Names() {
		if err := Overridable.Reset(&o, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o != (offloader.Override{}) {
		t.Errorf("after a reset of all %+v is left", o)
	}
}

func TestUnknownSettings(t *testing.T) {
	t.Parallel()
	var o offloader.Override
	const want = "unknown setting 'linge': want one of concurrency, queue, max_wait, order, linger; did you mean 'linger'?"
	for _, err := range []error{Overridable.Override(&o, "linge", "1s"), Overridable.Reset(&o, "linge")} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Pool.JSON("window", "1s"); err == nil || !strings.HasPrefix(err.Error(), "unknown setting 'window'") {
		t.Errorf("got %v", err)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"concurrency": "How many requests may run at once, or 'off' (default 8)",
		"queue":       "How many requests may wait (default 100)",
		"order":       "The order of the queue: 'auto' or 'fifo' (default auto)",
	} {
		s, err := Pool.find(name)
		if err != nil || s.Help() != want {
			t.Errorf("got %q, %v, want %q", s.Help(), err, want)
		}
	}
}
