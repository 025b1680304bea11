package settings

import (
	"fmt"
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
		Concurrency: 3, UpstreamConcurrency: 13, ConcurrencyOf: map[string]int{"b:80": 14, "a:80": 15}, Queue: 4, MaxWait: time.Minute, Order: offloader.OrderFIFO, Linger: 2 * time.Hour, LongestRun: time.Hour,
		Fair: true, KeyName: "{client_ip}", PerKey: 10, QueuePerKey: 11, Classes: []offloader.Class{{Name: "urgent", Weight: 12}, {Name: "batch", Weight: 1}},
		Breaker: &offloader.BreakerSettings{
			FailureRatio: 0.25, MinRequests: 5, ConsecutiveFailures: 6,
			SlowRatio: 0.75, SlowAfter: 2 * time.Minute, Statuses: "5xx 429", Hold: 13 * time.Second,
			Window: 90 * time.Second, CoolDown: 7 * time.Second, Probes: 8, ProbeTimeout: 9 * time.Second,
		},
	}
}

func TestSettingsAreShown(t *testing.T) {
	t.Parallel()
	got := View(sample())
	breaker, _ := got["breaker"].(map[string]any)
	delete(got, "breaker")
	if want := map[string]any{
		"concurrency": 3, "upstream_concurrency": "13, a:80 15, b:80 14", "queue": 4, "max_wait": "1m", "order": "fifo", "linger": "2h",
		"fair_by": "{client_ip}", "per_key": 10, "queue_per_key": 11, "classes": "urgent:12 batch:1",
	}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if want := map[string]any{
		"failure_ratio": 0.25, "min_requests": 5, "consecutive_failures": 6,
		"slow_ratio": "0.75 2m", "statuses": "5xx 429", "hold": "13s",
		"window": "1m30s", "cool_down": "7s", "probes": 8, "probe_timeout": "9s", "scope": "pool",
	}; !maps.Equal(breaker, want) {
		t.Errorf("got %v, want %v", breaker, want)
	}
	got = View(offloader.Settings{})
	if want := map[string]any{
		"concurrency": "off", "upstream_concurrency": "off", "queue": 0, "max_wait": "off", "order": "auto", "linger": "off", "breaker": "off",
		"fair_by": "off", "per_key": "off", "queue_per_key": "off", "classes": "off",
	}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChangesAreFound(t *testing.T) {
	t.Parallel()
	none := offloader.Settings{}
	from, to := Changed(none, sample())
	want := map[string]string{
		"concurrency": "3", "upstream_concurrency": "13, a:80 15, b:80 14", "queue": "4", "max_wait": "1m0s", "order": "fifo", "linger": "2h0m0s", "longest_timeout": "1h0m0s",
		"fair_by": "{client_ip}", "per_key": "10", "queue_per_key": "11", "classes": "urgent:12 batch:1",
		"breaker": "on", "breaker.failure_ratio": "0.25", "breaker.min_requests": "5", "breaker.consecutive_failures": "6",
		"breaker.slow_ratio": "0.75 2m", "breaker.statuses": "5xx 429", "breaker.hold": "13s",
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
	for _, test := range []struct{ name, value string }{
		{"concurrency", "12"},
		{"queue", "0"},
		{"max_wait", "off"},
		{"order", "fifo"},
		{"linger", "1m"},
		{"fair_by", "{http.request.header.X-Tenant}"},
		{"per_key", "2"},
		{"queue_per_key", "off"},
		{"classes", "a:3 b:1"},
		{"failure_ratio", "0.1"},
		{"min_requests", "9"},
		{"consecutive_failures", "2"},
		{"window", "5m"},
		{"cool_down", "3s"},
		{"probes", "4"},
		{"probe_timeout", "6s"},
		{"slow_ratio", "0.3 2m"},
		{"slow_ratio", "off"},
		{"hold", "5s"},
		{"hold", "off"},
		{"statuses", "5xx"},
		{"statuses", "429 4xx"},
		{"statuses", "5xx 501"},
	} {
		name, value, table := test.name, test.value, Pool
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
		if got := fmt.Sprint(setting.view(&s)); got != value {
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
	want := map[string]string{"concurrency": "3", "queue": "4", "max_wait": "1m0s", "order": "fifo", "linger": "2h0m0s", "per_key": "10", "queue_per_key": "11"}
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
	const want = "unknown setting 'linge': want one of concurrency, queue, max_wait, order, linger, per_key, queue_per_key; did you mean 'linger'?"
	for _, err := range []error{Overridable.Override(&o, "linge", "1s"), Overridable.Reset(&o, "linge")} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Pool.JSON("window", "1s"); err == nil || !strings.HasPrefix(err.Error(), "unknown setting 'window'") {
		t.Errorf("got %v", err)
	}
}

func TestBadValuesOfClaims(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value, want string }{
		{"classes", "a", "bad classes value 'a': want <name>:<weight>, such as interactive:8, with a weight from 1 to 1000"},
		{"classes", "a:1 b:0", "bad classes value 'b:0': want <name>:<weight>, such as interactive:8, with a weight from 1 to 1000"},
		{"classes", ":1", "bad classes value ':1': want <name>:<weight>, such as interactive:8, with a weight from 1 to 1000"},
		{"classes", "a:1 b:2 a:3", "bad classes value 'a:3': class 'a' is listed twice"},
		{"fair_by", "client", "bad fair_by value 'client': want a placeholder such as {client_ip} or {http.request.header.X-Tenant}"},
		{"fair_by", "{http.request.body}", "bad fair_by value '{http.request.body}': the body of the request is not read for this; want a placeholder such as {http.request.header.X-Tenant}"},
		{"per_key", "0", "bad per_key value '0': want a whole number from 1 to 2147483647, or 'off'"},
		{"queue_per_key", "many", "bad queue_per_key value 'many': want a whole number from 1 to 2147483647, or 'off'"},
	} {
		if _, err := Pool.JSON(test.name, test.value); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func TestBadValuesOfBreakers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value, want string }{
		{"slow_ratio", "0.5", "bad slow_ratio value '0.5': want <ratio> <duration>, such as 0.5 2s, or 'off' alone"},
		{"slow_ratio", "0.5 2s 3s", "bad slow_ratio value '0.5 2s 3s': want <ratio> <duration>, such as 0.5 2s, or 'off' alone"},
		{"slow_ratio", "off 2s", "bad slow_ratio value 'off 2s': want <ratio> <duration>, such as 0.5 2s, or 'off' alone"},
		{"slow_ratio", "2s 0.5", "bad slow_ratio value '2s': want a number above 0 and up to 1, or 'off'"},
		{"slow_ratio", "0.5 0s", "bad slow_ratio value '0s': want more than zero"},
		{"slow_ratio", "0.5 2", "bad slow_ratio value '2': want a duration such as 10s"},
		{"hold", "0s", "bad hold value '0s': want more than zero, or 'off'"},
		{"statuses", "600", "bad statuses value '600': want codes from 400 to 599, or the classes 4xx and 5xx"},
		{"statuses", "5xx 399", "bad statuses value '399': want codes from 400 to 599, or the classes 4xx and 5xx"},
		{"statuses", "off", "bad statuses value 'off': want codes from 400 to 599, or the classes 4xx and 5xx"},
		{"statuses", "429 429", "bad statuses value '429': listed twice"},
	} {
		if _, err := Breaker.JSON(test.name, test.value); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

// A list of statuses in JSON has numbers and strings.
func TestStatusesAsJSON(t *testing.T) {
	t.Parallel()
	if got, err := Breaker.JSON("statuses", "5xx 429"); err != nil || string(got) != `{"statuses":["5xx",429]}` {
		t.Errorf("got %s, %v", got, err)
	}
	for text, want := range map[string]string{
		`{"statuses": [429, "503"]}`:   "429 503",
		`{"statuses": ["4xx", "5xx"]}`: "4xx 5xx",
		`{"statuses": []}`:             "5xx",
		`{}`:                           "5xx",
	} {
		s := offloader.DefaultSettings()
		if err := Breaker.Apply(&s, rawJSON(text)); err != nil || s.Breaker.Statuses != want {
			t.Errorf("%s: got %q, %v, want %q", text, s.Breaker.Statuses, err, want)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"concurrency": "How many requests may run at once, or 'off' (default 8)",
		"queue":       "How many requests may wait (default 100)",
		"order":       "The order of the queue: first come first served (fifo), or the same while the queue is short and newest first when it is too long (auto): 'auto' or 'fifo' (default auto)",
		"classes":     "Classes of requests that share the permits by weight; when the queue is full, an earlier class displaces a later one: '<name>:<weight> ...', or 'off' (default off)",
	} {
		s, err := Pool.find(name)
		if err != nil || s.Help() != want {
			t.Errorf("got %q, %v, want %q", s.Help(), err, want)
		}
	}
}
