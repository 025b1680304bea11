package load

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{hundred[:1], 0, 1},
		{hundred[:1], 0.99, 1},
		{hundred[:2], 0.5, 1},
		{hundred[:2], 0.51, 2},
		{hundred, 0.5, 50},
		{hundred, 0.95, 95},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %v of %d values: %d, want %d", c.q, len(c.values), got, c.want)
		}
	}
}

func TestTallyCountsByKind(t *testing.T) {
	t.Parallel()
	tally := NewTally()
	for i := range 10 {
		tally.Add(Done, time.Duration(10-i)*time.Millisecond)
	}
	tally.Add(GaveUp, 5*time.Second)
	tally.Add("status 503 queue_full", time.Microsecond)
	tally.Add(Unanswered, time.Millisecond)
	tally.Add(NeverSent, 0)

	got := tally.Route()
	if got.Completed != 10 || got.Lost != 4 || len(got.Errors) != 4 || got.Errors[GaveUp] != 1 {
		t.Errorf("%+v", got)
	}
	want := Latencies{P50: 6, P95: 5000, P99: 5000, Max: 5000}
	if got.Latencies != want {
		t.Errorf("%+v, want %+v: answers and clients who gave up, nothing else", got.Latencies, want)
	}
}

func TestTallyKnowsWhoWaits(t *testing.T) {
	t.Parallel()
	tally := NewTally()
	tally.Measure(time.Now(), func() string {
		if got := tally.String(); got != "0 done, 1 waiting, 0 lost" {
			t.Error(got)
		}
		return "connection reset"
	})
	if got := tally.String(); got != "0 done, 0 waiting, 1 lost" {
		t.Error(got)
	}
}
