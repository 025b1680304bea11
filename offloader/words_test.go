package offloader_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Reasons have one name everywhere. Those of the program come after those of the package.
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
		{"cancelled", false},
		{"unspooled_limit", false}, // registered by the tests
		{"spool_full", false},
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

func TestReasonsThatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string][2]string{
		"a name of the package": {"queue_full", "text"},
		"a registered name":     {"spool_full", "text"},
		"no name":               {"", "text"},
		"no text":               {"name", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := len(offloader.Reasons())
			defer func() {
				if recover() == nil || len(offloader.Reasons()) != before {
					t.Error("it was registered")
				}
			}()
			offloader.NewReason(reason[0], reason[1])
		})
	}
}

// A registered reason is counted like those of the package.
func TestRegisteredReasonsAreCounted(t *testing.T) {
	t.Parallel()
	play(t, "by name", nil, func(s *stage) {
		err := s.pool.Reject(spoolFull)
		if err.Reason != spoolFull || err.Reason.Text() != "no room to keep the input" || errors.Is(err, offloader.ErrShed) {
			s.t.Errorf("rejected with %v", err)
		}
		if got := s.pool.Snapshot().Rejected; got["spool_full"] != 1 || len(got) != 1 {
			s.t.Errorf("rejected: %v", got)
		}
	})
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

func TestTextForms(t *testing.T) {
	t.Parallel()
	t.Run("reasons and states", func(t *testing.T) {
		t.Parallel()
		got, err := json.Marshal(map[string]any{
			"reason": offloader.QueueFull,
			"states": []offloader.BreakerState{
				offloader.StateOff, offloader.StateClosed, offloader.StateHalfOpen, offloader.StateOpen,
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
