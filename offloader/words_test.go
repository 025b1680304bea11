package offloader_test

import (
	"errors"
	"fmt"
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
		{"displaced", true},
		{"key_queue_full", true},
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
		if got := s.pool.Snapshot().Rejected; got[spoolFull] != 1 || len(got) != 1 {
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

func TestStatesHaveNames(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprint(offloader.BreakerStates()); got != "[off closed half_open open]" {
		t.Errorf("states of the breaker: %s", got)
	}
	if got := fmt.Sprint(offloader.Phases()); got != "[open paused draining closed]" {
		t.Errorf("phases: %s", got)
	}
}

func TestRejectionsSayWhoAndWhy(t *testing.T) {
	t.Parallel()
	play(t, "in one line", nil, func(s *stage) {
		err := s.pool.Reject(offloader.QueueFull)
		if want := "pool 'reports' rejected: queue_full (all permits are taken and the queue is full)"; err.Error() != want ||
			err.Pool != "reports" || err.Reason != offloader.QueueFull {
			s.t.Errorf("error is %v, want %s", err, want)
		}
		if got := s.pool.Snapshot().Rejected; got[offloader.QueueFull] != 1 || len(got) != 1 {
			s.t.Errorf("rejected: %v", got)
		}
	})
}
