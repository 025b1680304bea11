package offloader_test

import (
	"encoding/json"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// The words for reasons are the same everywhere, and the list is closed.
func TestReasonsHaveWords(t *testing.T) {
	t.Parallel()
	want := []struct {
		word string
		shed bool
	}{
		{"queue_full", true},
		{"wait_timeout", true},
		{"predicted_late", true},
		{"breaker_open", false},
		{"draining", false},
		{"closed", false},
		{"unspooled_limit", false},
		{"spool_full", false},
		{"run_timeout", false},
		{"first_byte_timeout", false},
		{"body_too_large", false},
		{"incremental_refused", false},
		{"cancelled", false},
	}
	all := offloader.Reasons()
	if len(all) != len(want) {
		t.Fatalf("%d reasons, want %d", len(all), len(want))
	}
	for i, r := range all {
		if r.String() != want[i].word || r.Shed() != want[i].shed || r.Text() == "" {
			t.Errorf("reason %d is %s, shed %t, %q", i, r, r.Shed(), r.Text())
		}
	}
	for r, word := range map[offloader.Reason]string{0: "reason(0)", 200: "reason(200)"} {
		if r.String() != word || r.Text() != "" || r.Shed() {
			t.Errorf("unknown reason is %s, %q", r, r.Text())
		}
	}
}

func TestOutcomesHaveWords(t *testing.T) {
	t.Parallel()
	for o, word := range map[offloader.Outcome]string{
		offloader.Success: "success", offloader.Failure: "failure", offloader.Excluded: "excluded", 3: "unknown",
	} {
		if o.String() != word {
			t.Errorf("outcome %d is %s", o, o)
		}
	}
}

func TestSnapshotsAreWrittenWithWords(t *testing.T) {
	t.Parallel()
	play(t, "as JSON", func(s *offloader.Settings) {
		s.Queue, s.Breaker = 1, inARow(1)
	}, func(s *stage) {
		s.arrivals(3)
		s.pass(second)
		got, err := json.Marshal(s.pool.Snapshot())
		if err != nil {
			s.t.Fatal(err)
		}
		want := `{"name":"reports","phase":"open","concurrency":1,"limit":1,"lent":0,"running":1,"abandoned":0,"lingering":0,"uploading":0,"predecessors":0,"upgraded":0,` +
			`"waiting":1,"queue_limit":1,"oldest_wait_ns":1000000000,"newest_first":false,"mean_run_ns":0,"breaker":"closed","breaker_forced":false,` +
			`"admitted_total":1,"left_total":0,"rejected_total":{"queue_full":1},` +
			`"ended_total":{"excluded":0,"failure":0,"success":0},"breaker_changed_total":{"closed":0,"half_open":0,"open":0}}`
		if string(got) != want {
			s.t.Errorf("snapshot is\n%s, want\n%s", got, want)
		}
	})
	t.Run("reasons and states", func(t *testing.T) {
		t.Parallel()
		got, err := json.Marshal(map[string]any{
			"reason": offloader.QueueFull,
			"states": []offloader.BreakerState{
				offloader.BreakerOff, offloader.BreakerClosed, offloader.BreakerHalfOpen, offloader.BreakerTripped,
			},
		})
		if want := `{"reason":"queue_full","states":["off","closed","half_open","open"]}`; err != nil || string(got) != want {
			t.Errorf("%s, %v", got, err)
		}
	})
}

func TestRejectionsSayWhoAndWhy(t *testing.T) {
	t.Parallel()
	play(t, "in one line", nil, func(s *stage) {
		err := s.pool.Reject(offloader.QueueFull)
		if want := "pool 'reports' rejected: queue_full (all permits are taken and the queue is full)"; err.Error() != want ||
			err.Pool != "reports" || err.Reason != offloader.QueueFull {
			s.t.Errorf("error is %v, want %s", err, want)
		}
		if got := s.pool.Snapshot().Rejected; got["queue_full"] != 1 || len(got) != 1 {
			s.t.Errorf("rejected: %v", got)
		}
	})
}
