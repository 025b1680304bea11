package jobs

import "time"

// Record is what an engine stores of a job, apart from the bytes of its body and its result.
// A record from an engine is a copy that belongs to the caller.
type Record struct {
	ID ID `json:"id"`
	// Rev counts the stored versions of the record from 1. Zero: it is not stored. An engine
	// alone changes it.
	Rev uint64 `json:"rev"`

	// Route is the name of the route whose executor runs the job.
	Route string `json:"route"`
	// Tenant is the name under which the job counts for quotas and fairness.
	Tenant string `json:"tenant,omitempty"`
	// Owner is the hash of the client that may use the job. The zero value is any client that knows its ID.
	Owner [32]byte `json:"owner"`
	// Key is the idempotency key of the submission, nil without one.
	Key *Key `json:"key,omitempty"`

	Request Request `json:"request"`
	// BodySize is the length of the request's body in bytes.
	BodySize int64 `json:"body_size"`
	// Policy is what its route said at the submission.
	Policy Policy `json:"policy"`
	// Repeatable: it may be run again after an attempt that may have reached the upstream.
	Repeatable bool `json:"repeatable,omitempty"`

	Created time.Time `json:"created"`
	State   State     `json:"state"`
	// NotBefore is the earliest time of the next attempt, in the states Queued and RetryWait.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Generation counts from 1; each retry of a job that had ended begins another one.
	Generation int `json:"generation"`
	// Begun is the begin of the generation, the zero value in the first: it is Created.
	Begun time.Time `json:"begun,omitzero"`
	// Attempt is the number of the last attempt of the generation, zero before the first.
	Attempt int `json:"attempt"`
	// Uncounted is how many of the generation's attempts do not count for
	// Policy.MaxAttempts.
	Uncounted int `json:"uncounted,omitempty"`
	// Crashes is how often the process has crashed during an attempt of the generation, since
	// the last attempt that may have reached the upstream and has ended otherwise.
	Crashes int `json:"crashes,omitempty"`
	// Attempts are the last MaxAttemptRecords attempts of all generations, oldest first.
	Attempts []AttemptRecord `json:"attempts,omitempty"`
	// Cancel is set when its owner or an operator has asked to cancel the job.
	Cancel *Cancel `json:"cancel,omitempty"`

	// Response is the answer of the upstream, nil without one. Its bytes are those of the
	// result of the last attempt.
	Response *Response `json:"response,omitempty"`
	// Reason is a word for why the job is in its state, such as "outcome_unknown".
	Reason string `json:"reason,omitempty"`
	// Ended is the time of the terminal state, KeepUntil the time of the job's removal.
	Ended     time.Time `json:"ended,omitzero"`
	KeepUntil time.Time `json:"keep_until,omitzero"`

	// Hook is the webhook of the job, nil without one.
	Hook *Hook `json:"hook,omitempty"`
	// Trace is the traceparent of the submission.
	Trace string `json:"trace,omitempty"`
}

// MaxAttemptRecords is how many attempts a record lists.
const MaxAttemptRecords = 10

// Request is a request as it is sent to the upstream.
type Request struct {
	Method string  `json:"method"`
	URI    string  `json:"uri"`
	Host   string  `json:"host"`
	Scheme string  `json:"scheme"`
	Remote string  `json:"remote"` // address and port of the client
	Header []Field `json:"header,omitempty"`
}

// Field is a header field with one of its values.
type Field struct {
	Name  string `json:"n"`
	Value string `json:"v"`
}

// Response is the answer of the upstream.
type Response struct {
	Status int     `json:"status"`
	Header []Field `json:"header,omitempty"`
	// Size is the length of the result in bytes when it is complete. SHA256 is its hash.
	Size     int64    `json:"size"`
	Complete bool     `json:"complete"`
	SHA256   [32]byte `json:"sha256"`
	Trailer  []Field  `json:"trailer,omitempty"`
}

// Key is an idempotency key. Its hash is unique in an engine until its time has come.
type Key struct {
	// Hash of the key and of its scope.
	Hash [32]byte `json:"hash"`
	// Fingerprint of the request, by which another request with the same key is noticed.
	Fingerprint [32]byte  `json:"fingerprint"`
	Until       time.Time `json:"until"`
}

// Policy is how a job is run. It is stored with the job, so that another configuration
// changes new jobs alone.
type Policy struct {
	// MaxAttempts of a generation that count, at least 1.
	MaxAttempts int `json:"max_attempts"`
	// AttemptTimeout ends an attempt, QueueTime a job whose first attempt has not begun,
	// TotalTime everything, counted from the begin of the generation. Zero: no limit.
	AttemptTimeout time.Duration `json:"attempt_timeout,omitempty"`
	QueueTime      time.Duration `json:"queue_time,omitempty"`
	TotalTime      time.Duration `json:"total_time,omitempty"`
	// The first retry waits for a random time of up to MinBackoff, each further one of up to
	// twice as long as the one before, at most MaxBackoff.
	MinBackoff time.Duration `json:"min_backoff"`
	MaxBackoff time.Duration `json:"max_backoff"`
	// Keep is how long a job that has ended stays, KeepDead one in state Dead.
	Keep     time.Duration `json:"keep"`
	KeepDead time.Duration `json:"keep_dead"`
	// MaxResult is the largest result in bytes. Zero: no limit.
	MaxResult int64 `json:"max_result,omitempty"`
}

// AttemptRecord is one attempt. An attempt without an end goes on, or was interrupted.
type AttemptRecord struct {
	Generation int       `json:"generation"`
	Number     int       `json:"number"`
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended,omitzero"`
	Class      Class     `json:"class,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Status     int       `json:"status,omitempty"`
	Bytes      int64     `json:"bytes,omitempty"`
}

// Cancel is a request to cancel a job.
type Cancel struct {
	At time.Time `json:"at"`
	By string    `json:"by"` // "owner" or "operator"
}

// Hook is a webhook: a message to an endpoint when the job has ended. It never changes the
// state of the job.
type Hook struct {
	URL string `json:"url"`
	// Secret is the name of the secret by which messages are signed, never the secret.
	Secret string `json:"secret"`
	// WithResult sends small results too.
	WithResult bool `json:"with_result,omitempty"`

	State HookState `json:"state,omitempty"`
	Tries int       `json:"tries,omitempty"`
	// Next is the time of the next try, in state HookPending.
	Next time.Time `json:"next,omitzero"`
	// Error is a word for why the last try has failed, such as "status_500".
	Error string `json:"error,omitempty"`
}

// HookState is the state of a webhook.
type HookState string

// States of a webhook. The zero value: the job has not ended.
const (
	HookPending   HookState = "pending"
	HookDelivered HookState = "delivered"
	HookGivenUp   HookState = "given_up"
)

// Class says how an attempt has ended, and so whether the job may be run again.
type Class string

const (
	// Completed: the response is complete and no failure. The job has succeeded.
	Completed Class = "completed"
	// Declined: a failure that another attempt would not change. The job has failed, and
	// keeps the response, which is complete, if there is one.
	Declined Class = "declined"
	// Busy: the upstream has no room now. The job is run again; the attempt does not count.
	Busy Class = "busy"
	// NotSent: the upstream was not reached. The job is run again.
	NotSent Class = "not_sent"
	// Broken: the request was sent, and failed or has no complete response. Only a
	// repeatable job is run again.
	Broken Class = "broken"
	// Interrupted: the process ended during the attempt. As Broken.
	Interrupted Class = "interrupted"
	// Aborted: the job was cancelled.
	Aborted Class = "aborted"
	// TooLarge: the result was larger than Policy.MaxResult, or the store had no room for
	// it. As Declined, without a response.
	TooLarge Class = "too_large"
)
