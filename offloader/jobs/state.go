package jobs

import (
	"fmt"
	"slices"
)

// State of a job.
type State uint8

const (
	// Queued: stored, and waiting for a permit, the breaker or its route.
	Queued State = iota + 1
	// Running: an attempt has been recorded, and the upstream is called.
	Running
	// Streaming: the head of the response is there, and the result can be read. It is a
	// state of views alone: a stored record has Running in its place.
	Streaming
	// RetryWait: an attempt has failed, and the next one waits for its time.
	RetryWait
	// Succeeded: the response is complete, and its status is no failure.
	Succeeded
	// Failed: the response is complete, and its status is a failure; or it is not known
	// whether the upstream has done the work, and it may not be asked again.
	Failed
	// Dead: all attempts have failed without a response, or the process has crashed during
	// them again and again.
	Dead
	// Expired: the job was not run within its time.
	Expired
	// Cancelled: its owner or an operator has cancelled it.
	Cancelled

	stateCount
)

var stateNames = [stateCount]string{
	"", "queued", "running", "streaming", "retry_wait", "succeeded", "failed", "dead", "expired", "cancelled",
}

// States lists all states in the order of a job's life.
func States() []State {
	return []State{Queued, Running, Streaming, RetryWait, Succeeded, Failed, Dead, Expired, Cancelled}
}

// ParseState reads the name of a state.
func ParseState(name string) (State, error) {
	i := slices.Index(stateNames[1:], name)
	if i < 0 {
		return 0, fmt.Errorf("unknown state '%s': want one of %q", name, stateNames[1:])
	}
	return State(i + 1), nil
}

// Terminal reports whether a job in this state has ended. Terminal states do not change; a
// retry of such a job begins another generation.
func (s State) Terminal() bool { return s >= Succeeded }

// String returns the name of the state, such as "retry_wait".
func (s State) String() string {
	if s >= stateCount {
		return ""
	}
	return stateNames[s]
}

// MarshalText returns the name of the state.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name of a state.
func (s *State) UnmarshalText(text []byte) (err error) {
	*s, err = ParseState(string(text))
	return err
}
