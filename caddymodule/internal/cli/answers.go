package cli

import (
	"strings"
	"time"
)

// The fields of the server's answers that the commands use.

type pool struct {
	Name        string
	Phase       string
	Mode        string
	Concurrency int
	Permits     int
	WarmingUp   int `json:"warming_up"`
	Running     int
	Abandoned   int
	Lingering   int
	Uploading   int
	Unspooled   int
	Lent        int
	// Predecessors counts requests in flight in pools that this one has replaced.
	Predecessors int

	Upgraded   int
	Waiting    int
	QueueLimit int           `json:"queue_limit"`
	OldestWait time.Duration `json:"oldest_wait_ns"`

	NewestFirst   bool          `json:"newest_first"`
	MeanRun       time.Duration `json:"mean_run_ns"`
	Breaker       string
	BreakerForced bool `json:"breaker_forced"`
	// BreakerHeld counts the waiters that wait until the breaker has closed.
	BreakerHeld int `json:"breaker_held"`
	Seeking     int
	HoldEndsIn  time.Duration `json:"breaker_hold_ends_in_ns"`
	Overridden  map[string]string
	Classes     []class
	Upstreams   []upstream

	Admitted uint64            `json:"admitted_total"`
	Left     uint64            `json:"left_total"`
	Rejected map[string]uint64 `json:"rejected_total"`
	Ended    map[string]uint64 `json:"ended_total"`
	Settings map[string]shownValue
}

// class has the numbers of a class of a pool.
type class struct {
	Name             string
	Running, Waiting int

	Admitted int `json:"admitted_total"`
	Rejected int `json:"rejected_total"`
}

// upstream is one of those among which a pool chooses.
type upstream struct {
	Name                   string
	Available              bool
	Breaker                string
	Running, Limit, Weight int
}

// pressure has the numbers of a pool at one moment.
type pressure struct {
	Running, Limit, Waiting int

	QueueLimit int `json:"queue_limit"`
	Breaker    string
}

// shownValue is the value of a setting: text, a number, or an object.
type shownValue string

// UnmarshalJSON keeps the value as the server writes it, text without its quotes.
func (v *shownValue) UnmarshalJSON(value []byte) error {
	*v = shownValue(strings.Trim(string(value), `"`))
	return nil
}

type request struct {
	ID, Pool, Phase, Class, Key, Client, Method, Host, Path, Reason, Unspooled string

	Age       time.Duration `json:"age_ns"`
	InPhase   time.Duration `json:"in_phase_ns"`
	Position  int
	Cost      int
	Abandoned bool
	Budget    *struct {
		By   string
		Left time.Duration `json:"left_ns"`
	}
}

type explanation struct {
	ID, Pool, Client, Method, Host, Path, Decision, Phase, Reason, Text string

	Sentences []string
	At        time.Time
	Waited    time.Duration `json:"waited_ns"`
	Ran       time.Duration `json:"ran_ns"`
	Then      pressure

	// Of a served request.
	Status int
	Total  time.Duration `json:"total_ns"`
}
