package offloader

import (
	"context"
	"errors"
)

// Outcome is the result of a run for the breaker.
type Outcome uint8

const (
	// Success: the backend did its work.
	Success Outcome = iota
	// Failure: the backend is at fault.
	Failure
	// Excluded: the result says nothing about the backend, for example because the client
	// was at fault or left.
	Excluded

	outcomeCount
)

var outcomeNames = [outcomeCount]string{"success", "failure", "excluded"}

// String returns the outcome's name: success, failure or excluded.
func (o Outcome) String() string {
	if o >= outcomeCount {
		return "unknown"
	}
	return outcomeNames[o]
}

var (
	errFailure  = errors.New("run failed")
	errExcluded = errors.New("run excluded")
)

// err is the outcome as gobreaker sees it.
func (o Outcome) err() error {
	switch o {
	case Failure:
		return errFailure
	case Excluded:
		return errExcluded
	}
	return nil
}

// OutcomeOf judges an error of a run as [Pool.Do] does by default: nil is a success, an
// error that wraps [context.Canceled] is excluded, since the caller has ended the run,
// and any other error is a failure.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, context.Canceled):
		return Excluded
	}
	return Failure
}
