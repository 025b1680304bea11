package cli

import (
	"strings"
	"time"
)

// The parts of the server's answers that the commands read.

type pool struct {
	Name        string
	Phase       string
	Concurrency int
	Limit       int
	WarmingUp   int `json:"warming_up"`
	Running     int
	Abandoned   int
	Lingering   int
	Uploading   int
	Unspooled   int
	Lent        int
	// Predecessors counts requests in flight in pools that this one has succeeded.
	Predecessors int

	Upgraded   int
	Waiting    int
	QueueLimit int           `json:"queue_limit"`
	OldestWait time.Duration `json:"oldest_wait_ns"`

	NewestFirst   bool          `json:"newest_first"`
	MeanRun       time.Duration `json:"mean_run_ns"`
	Breaker       string
	BreakerForced bool `json:"breaker_forced"`
	Overridden    map[string]string

	Admitted uint64            `json:"admitted_total"`
	Left     uint64            `json:"left_total"`
	Rejected map[string]uint64 `json:"rejected_total"`
	Ended    map[string]uint64 `json:"ended_total"`
	Settings map[string]shownValue
}

// shownValue is the value of a setting: text, a number, or an object.
type shownValue string

// UnmarshalJSON keeps the value as the server writes it, text without its quotes.
func (v *shownValue) UnmarshalJSON(value []byte) error {
	*v = shownValue(strings.Trim(string(value), `"`))
	return nil
}

type request struct {
	ID, Pool, Phase, Class, Client, Method, Host, Path, Reason, Unspooled string

	Age       time.Duration `json:"age_ns"`
	InPhase   time.Duration `json:"in_phase_ns"`
	Position  int
	Abandoned bool
}

type explanation struct {
	ID, Pool, Client, Method, Host, Path, Decision, Phase, Reason, Text, Unspooled string

	At            time.Time
	Upload        time.Duration `json:"upload_ns"`
	Waited        time.Duration `json:"waited_ns"`
	Ran           time.Duration `json:"ran_ns"`
	Sends         int
	Ahead         int
	PredictedWait time.Duration `json:"predicted_wait_ns"`
	Then          pool
}
