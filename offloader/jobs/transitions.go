package jobs

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The functions of this file are the policy. Each changes a record that is not stored yet, and
// knows nothing but the record, the time and chance. A record may be changed by one of them,
// stored, and read again: then the job is in its next state.

// Words for Record.Reason and AttemptRecord.Reason.
const (
	// OutcomeUnknown: the upstream may have done the work, and may not be asked again.
	OutcomeUnknown = "outcome_unknown"
	// AttemptsExhausted: as many attempts as the policy allows have failed.
	AttemptsExhausted = "attempts_exhausted"
	// Poison: the process has crashed during the job again and again.
	Poison = "poison"
	// QueueTimeOver and TotalTimeOver: the time of the policy is over.
	QueueTimeOver = "queue_time"
	TotalTimeOver = "total_time"
	// AttemptTimeOver: the attempt took too long.
	AttemptTimeOver = "attempt_timeout"
	// ResultTooLarge: the result is larger than the policy allows. NoSpace: the store had no
	// room for it. NotStored: the store has failed.
	ResultTooLarge = "result_too_large"
	NoSpace        = "no_space"
	NotStored      = "result_not_stored"
	// Panicked: the executor has panicked.
	Panicked = "panic"
	// ProcessCrashed, ProcessStopped and MachineStopped: the process has ended during the
	// attempt, without notice, by request, or with its machine.
	ProcessCrashed = "process_crashed"
	ProcessStopped = "process_stopped"
	MachineStopped = "machine_stopped"
)

// maxCrashes is how many crashes of the process a job survives.
const maxCrashes = 3

// newRecord returns the queued job of a submission.
func newRecord(sub *Submission, now time.Time) *Record {
	policy := sub.Policy
	policy.MaxAttempts = max(policy.MaxAttempts, 1)
	id := sub.ID
	if id.IsZero() {
		id = NewID(now)
	}
	return &Record{
		ID:         id,
		Route:      sub.Route,
		Tenant:     sub.Tenant,
		Owner:      sub.Owner,
		Key:        sub.Key,
		Request:    sub.Request,
		BodySize:   sub.Body.Size,
		Policy:     policy,
		Repeatable: sub.Repeatable,
		Created:    now,
		State:      Queued,
		Generation: 1,
		Hook:       sub.Hook,
		Trace:      sub.Trace,
	}
}

// clone returns a copy that the functions of this file may change.
func (r *Record) clone() *Record {
	c := *r
	c.Attempts = slices.Clone(r.Attempts)
	if r.Hook != nil {
		hook := *r.Hook
		c.Hook = &hook
	}
	if r.Response != nil {
		response := *r.Response
		c.Response = &response
	}
	return &c
}

// begun returns the begin of the generation.
func (r *Record) begun() time.Time {
	if r.Begun.IsZero() {
		return r.Created
	}
	return r.Begun
}

// waits reports whether the job waits for its next attempt.
func (r *Record) waits() bool { return r.State == Queued || r.State == RetryWait }

// since returns the time from which a job that waits may run.
func (r *Record) since() time.Time {
	if r.NotBefore.After(r.begun()) {
		return r.NotBefore
	}
	return r.begun()
}

// deadline returns the time at which a job that has not ended is too late, and why. The zero
// time is none.
func (r *Record) deadline() (at time.Time, reason string) {
	if r.Policy.TotalTime > 0 {
		at, reason = r.begun().Add(r.Policy.TotalTime), TotalTimeOver
	}
	if r.Policy.QueueTime > 0 && r.Attempt == 0 {
		if queue := r.begun().Add(r.Policy.QueueTime); at.IsZero() || queue.Before(at) {
			at, reason = queue, QueueTimeOver
		}
	}
	return at, reason
}

// late reports whether the deadline is over.
func (r *Record) late(now time.Time) (reason string, late bool) {
	at, reason := r.deadline()
	return reason, !at.IsZero() && !at.After(now)
}

// begin records the begin of an attempt. The job must wait, and its time must have come.
func (r *Record) begin(now time.Time) {
	r.State = Running
	r.Attempt++
	r.NotBefore = time.Time{}
	r.Attempts = append(r.Attempts, AttemptRecord{
		Generation: r.Generation,
		Number:     r.Attempt,
		Began:      now,
	})
	if more := len(r.Attempts) - MaxAttemptRecords; more > 0 {
		r.Attempts = slices.Clone(r.Attempts[more:])
	}
}

// outcome is how an attempt has ended.
type outcome struct {
	Verdict
	// response is complete, or nil.
	response *Response
	status   int
	bytes    int64
}

// end records the end of the attempt that runs, and what follows from it.
func (r *Record) end(now time.Time, o outcome) {
	last := &r.Attempts[len(r.Attempts)-1]
	last.Ended, last.Class, last.Reason = now, o.Class, o.Reason
	last.Status, last.Bytes = o.status, o.bytes
	if o.Class != NotSent && o.Class != Busy {
		r.Crashes = 0 // it has run, and the process is there
	}
	switch o.Class {
	case Completed:
		r.Response = o.response
		r.finish(now, Succeeded, "")
	case Declined:
		r.Response = o.response
		r.finish(now, Failed, o.Reason)
	case TooLarge:
		r.finish(now, Failed, o.Reason)
	default:
		r.follow(now, o)
	}
}

// follow decides what follows an attempt without a final response.
func (r *Record) follow(now time.Time, o outcome) {
	switch {
	case r.Cancel != nil:
		r.finish(now, Cancelled, "")
		return
	case o.Class == Busy:
		r.Uncounted++
	case o.Class != NotSent && !r.Repeatable:
		r.Response = o.response
		r.finish(now, Failed, OutcomeUnknown)
		return
	}
	if r.Attempt-r.Uncounted >= r.Policy.MaxAttempts {
		r.Response = o.response
		r.finish(now, Dead, AttemptsExhausted)
		return
	}
	r.State = RetryWait
	r.NotBefore = now.Add(o.RetryAfter + r.backoff())
	if _, late := r.late(r.NotBefore); late {
		r.Response = o.response
		r.finish(now, Expired, TotalTimeOver)
	}
}

// backoff returns a random time before the next attempt.
func (r *Record) backoff() time.Duration {
	ceiling := r.Policy.MinBackoff
	for range r.Attempt - 1 {
		if ceiling >= r.Policy.MaxBackoff {
			break
		}
		ceiling *= 2
	}
	if ceiling = min(ceiling, max(r.Policy.MaxBackoff, r.Policy.MinBackoff)); ceiling <= 0 {
		return 0
	}
	return rand.N(ceiling) + 1
}

// interrupt records that the process has ended during the attempt, and how. The job is queued
// again if it may be, without a wait. An attempt does not count if it cannot be the reason.
func (r *Record) interrupt(now time.Time, how End) {
	last := &r.Attempts[len(r.Attempts)-1]
	last.Ended, last.Class = now, Interrupted
	switch how {
	case Crashed:
		last.Reason = ProcessCrashed
		r.Crashes++
	case PowerCut:
		last.Reason = MachineStopped
	default:
		last.Reason = ProcessStopped
		r.Uncounted++
	}
	late, isLate := r.late(now)
	switch {
	case r.Cancel != nil:
		r.finish(now, Cancelled, "")
	case !r.Repeatable:
		r.finish(now, Failed, OutcomeUnknown)
	case r.Crashes >= maxCrashes:
		r.finish(now, Dead, Poison)
	case r.Attempt-r.Uncounted >= r.Policy.MaxAttempts:
		r.finish(now, Dead, AttemptsExhausted)
	case isLate:
		r.finish(now, Expired, late)
	default:
		r.State = Queued
	}
}

// takeBack records that the attempt was not made, although it was stored.
func (r *Record) takeBack(now time.Time) {
	r.Uncounted++
	last := &r.Attempts[len(r.Attempts)-1]
	last.Ended, last.Class, last.Reason = now, NotSent, NotStored
	r.State = Queued
	if r.Cancel != nil {
		r.finish(now, Cancelled, "")
	}
}

// cancel cancels a job that has not ended. One that runs ends later.
func (r *Record) cancel(now time.Time, by string) {
	if r.Cancel == nil {
		r.Cancel = &Cancel{At: now, By: by}
	}
	if r.waits() {
		r.finish(now, Cancelled, "")
	}
}

// retry begins another generation of a job that has ended.
func (r *Record) retry(now time.Time) {
	r.Generation++
	r.Begun = now
	r.State = Queued
	r.NotBefore = time.Time{}
	r.Attempt, r.Uncounted, r.Crashes = 0, 0, 0
	r.Cancel, r.Response, r.Reason = nil, nil, ""
	r.Ended, r.KeepUntil = time.Time{}, time.Time{}
	if r.Hook != nil {
		r.Hook.State, r.Hook.Tries, r.Hook.Next, r.Hook.Error = "", 0, time.Time{}, ""
	}
}

// finish ends the job. Its webhook is pending from the same moment on, and the job stays for
// as long as its key.
func (r *Record) finish(now time.Time, state State, reason string) {
	r.State, r.Reason = state, reason
	r.NotBefore = time.Time{}
	r.Ended = now
	keep := r.Policy.Keep
	if state == Dead {
		keep = r.Policy.KeepDead
	}
	r.KeepUntil = now.Add(keep)
	if r.Key != nil && r.Key.Until.After(r.KeepUntil) {
		r.KeepUntil = r.Key.Until
	}
	if r.Hook != nil {
		r.Hook.State, r.Hook.Tries, r.Hook.Next = HookPending, 0, now
		r.keepFor(now)
	}
}

// hookSchedule is how long the tries of a webhook wait, each after the one before.
var hookSchedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	// hookMargin is how long a job stays after the time of a try, at least.
	hookMargin = time.Hour
	// hookLongest is how long a job stays for a webhook that cannot be tried.
	hookLongest = 5 * 24 * time.Hour
)

// delivered records a try of the webhook.
func (r *Record) delivered(now time.Time, d Delivery) {
	h := r.Hook
	h.Tries++
	h.Error = d.Error
	h.Next = time.Time{}
	switch {
	case d.Delivered:
		h.State, h.Error = HookDelivered, ""
	case d.Gone, h.Tries >= len(hookSchedule):
		h.State = HookGivenUp
	default:
		wait := hookSchedule[h.Tries]
		wait += rand.N(wait/5 + 1)
		h.Next = now.Add(max(wait, d.RetryAfter))
	}
	r.keepFor(now)
	r.keepFor(h.Next)
}

// keepFor keeps the job for a receiver of its webhook, which may read the result after a try.
func (r *Record) keepFor(try time.Time) {
	if last := try.Add(hookMargin); last.After(r.KeepUntil) {
		r.KeepUntil = last
	}
}

// hookPending reports whether the webhook has to be tried.
func (r *Record) hookPending() bool { return r.Hook != nil && r.Hook.State == HookPending }

// awaits returns the time of the next attempt, or of the next try of the webhook, and how long
// the wait for it is at most. The zero time is none.
func (r *Record) awaits() (at time.Time, longest time.Duration) {
	switch last := len(r.Attempts) - 1; {
	case r.State.Terminal() && r.hookPending():
		return r.Hook.Next, math.MaxInt64
	case r.waits() && last >= 0:
		return r.NotBefore, max(r.NotBefore.Sub(r.Attempts[last].Ended), 0)
	}
	return time.Time{}, 0
}

// next returns the time at which something happens to the job without a call: it may run, it
// is too late, or its webhook is tried. The zero time is never.
func (r *Record) next(now time.Time) time.Time {
	if r.State.Terminal() {
		if r.hookPending() {
			return r.Hook.Next
		}
		return time.Time{}
	}
	at, _ := r.deadline()
	if r.State == Running && !at.After(now) {
		return time.Time{} // its attempt is ending
	}
	if r.waits() && r.NotBefore.After(now) && (at.IsZero() || r.NotBefore.Before(at)) {
		at = r.NotBefore
	}
	return at
}
