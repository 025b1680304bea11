package requests

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// slowerThan is the number of mean runs after which the runs that hold the permits count as
// slow. Predictions, and advice that follows from them, are then meaningless.
const slowerThan = 2

// story collects the sentences about an explanation.
type story struct {
	*Explanation
	sentences []string
}

// Sentences explains the end of the request to an operator, with the numbers behind the
// decision: the queue on arrival, the decision and its cause, and the settings with which
// the request would have been served.
func (e *Explanation) Sentences() []string {
	s := &story{Explanation: e}
	s.sayEnd()
	s.sayClaim()
	s.sayArrival()
	if e.Decision == DecidedRejected {
		s.sayReason()
	}
	if s.Budget.Decided {
		s.say("%s", s.Budget.sentence())
	}
	s.sayLimit()
	if e.Decision == DecidedRejected {
		s.sayRemedies()
	}
	s.sayRest()
	return s.sentences
}

func (s *story) say(format string, args ...any) {
	s.sentences = append(s.sentences, fmt.Sprintf(format, args...)+".")
}

// sayEnd begins with the end.
func (s *story) sayEnd() {
	switch s.Decision {
	case DecidedRejected:
		s.say("It was rejected (%s) %s", s.Reason, s.when())
	case DecidedTimedOut:
		s.say("Its run was ended after %s (%s): %s", length(s.Took), s.Reason, s.Reason.Text())
	case DecidedCancelled:
		s.say("An operator cancelled it %s", s.when())
	case DecidedLeft:
		s.say("Its client left %s", s.when())
	case DecidedAbandoned:
		s.say("Its client left before it had the answer, and its run went on: it took %s", length(s.Took))
	case DecidedServed:
		s.say("It was served in %s, with status %d: %s", length(s.Total()), s.Status, s.parts())
	}
}

// when returns how far the request had come.
func (s *story) when() string {
	switch {
	case s.Took > 0:
		return fmt.Sprintf("after %s of its run", length(s.Took))
	case s.Record.Joined:
		return fmt.Sprintf("after %s in the queue", length(s.Record.Waited))
	case s.Upload > 0:
		return fmt.Sprintf("after its body had been read for %s", length(s.Upload))
	}
	return "on arrival"
}

// parts returns the time of each stage that took any.
func (s *story) parts() string {
	var parts []string
	for _, part := range []struct {
		took  time.Duration
		of    string
		least time.Duration // that is worth mentioning
	}{
		{s.Upload, "for its body", time.Millisecond},
		{s.Waited, "in the queue", time.Millisecond},
		{s.Took, "for its run", 0},
		{s.Handed, "until its client had the rest", time.Millisecond},
	} {
		if part.took >= part.least {
			parts = append(parts, length(part.took)+" "+part.of)
		}
	}
	return strings.Join(parts, ", ")
}

// sayClaim describes the class, the key and the cost of the request.
func (s *story) sayClaim() {
	c := &s.Record.Claim
	var parts []string
	if c.Class != "" {
		parts = append(parts, "of class "+c.Class)
	}
	if c.Key != "" {
		parts = append(parts, "counted for key "+strconv.Quote(c.Key))
	}
	if c.Cost > 1 {
		parts = append(parts, "worth "+count(c.Cost, "permit"))
	}
	if len(parts) > 0 {
		s.say("It was %s", strings.Join(parts, ", "))
	}
}

// sayArrival describes the queue that the request joined.
func (s *story) sayArrival() {
	r := &s.Record
	switch {
	case !r.Joined && s.Decision == DecidedServed:
		s.say("A permit was free when it came")
		return
	case !r.Joined:
		return
	}
	predicted := ""
	if r.Predicted > 0 && !r.Held { // the prediction is for a backend that works
		predicted = fmt.Sprintf(", and a wait of %s was predicted", length(r.Predicted))
	}
	if r.Ahead == 0 {
		s.say("When it came, no other waiter was to be served before it%s", predicted)
	} else {
		s.say("When it came, %s %s to be served before it%s", count(r.Ahead, "waiter"), be(r.Ahead), predicted)
	}
	if s.Decision == DecidedServed || (r.Held && s.Decision != DecidedRejected) {
		s.say("%s", s.permits())
	}
}

// permits describes the permits in use.
func (s *story) permits() string {
	r := &s.Record
	switch {
	case r.Paused:
		return "The pool was paused and gave out no permits"
	case r.Held:
		return s.held()
	case r.Limit == 0 && r.Lent == 0:
		return fmt.Sprintf("%s %s in use, without a limit", count(r.Running, "permit"), be(r.Running))
	}
	return fmt.Sprintf("%d of %s %s in use", r.Running, count(r.Limit, "permit"), be(r.Limit))
}

// held describes a breaker that lets callers wait. The record of a caller that got a permit
// has no state of the breaker.
func (s *story) held() string {
	const held = "The breaker had tripped, and requests waited for it to close"
	switch r := &s.Record; {
	case r.Breaker == offloader.StateHalfOpen:
		return held + ": it let only probes pass"
	case r.ProbesIn > 0:
		return fmt.Sprintf("%s: it was to probe %s later", held, length(r.ProbesIn))
	}
	return held
}

// sayReason gives the cause of a rejection.
func (s *story) sayReason() {
	r := &s.Record
	if r.Held && s.Reason.Shed() {
		s.say("%s", s.held())
	}
	switch {
	case !s.Recorded:
		s.say("%s", capital(s.Reason.Text()))
	case s.Reason == offloader.PredictedLate:
		total, limit := exceeding(r.Waited+r.Rest, r.MaxWait)
		s.say("%s. That makes %s, and `max_wait` is %s", s.turn(), total, limit)
	case s.Reason == offloader.QueueFull:
		s.sayQueueFull()
	case s.Reason == offloader.Displaced:
		s.sayDisplaced()
	case s.Reason == offloader.KeyQueueFull:
		s.say("%s of its key waited, and `queue_per_key` allows no more", count(r.KeyWaiting, "request"))
	case s.Reason == offloader.WaitTimeout:
		s.sayWaitTimeout()
	case s.Reason == offloader.BreakerOpen:
		s.sayBreaker()
	case s.Reason == UnspooledLimit:
		s.say("Its body is passed on as it comes, and such requests held %d of the %s that they share", r.Capped, count(r.CappedLimit, "permit"))
	default:
		s.say("%s", capital(s.Reason.Text()))
	}
}

// turn describes the place in the queue at the decision.
func (s *story) turn() string {
	r := &s.Record
	before := "It was the next in the queue then"
	if r.Before > 0 {
		before = fmt.Sprintf("%s stood before it then, %s", count(r.Before, "waiter"), order(r))
	}
	if r.Rest == 0 || r.Concurrency == 0 {
		return before
	}
	return fmt.Sprintf("%s: with a mean run of %s and %s its turn was %s away",
		before, length(r.Run), count(r.Concurrency, "permit"), length(r.Rest))
}

func order(r *offloader.Record) string {
	switch {
	case r.Order == offloader.OrderFIFO:
		return "by `order fifo`"
	case r.NewestFirst:
		return "newest first"
	}
	return "in order of arrival"
}

func (s *story) sayQueueFull() {
	r, by := &s.Record, s.displacer()
	switch {
	case r.Displaced == offloader.ByNewer:
		s.say("%s, and the queue was too long to be served in order: %s, which is newer, got its place", places(r.Waiting), by)
	case r.Displaced == offloader.ByTurn:
		s.say("%s: %s came back when its `Retry-After` was over, and got its place", places(r.Waiting), by)
	case r.Held && r.QueueLimit == 0:
		s.say("The pool has no queue")
	case r.Held:
		s.say("%s waited, where `queue` allows %d", count(r.Waiting, "request"), r.QueueLimit)
	case r.QueueLimit == 0:
		s.say("%s, and the pool has no queue", s.permits())
	default:
		s.say("%s, and %s waited, where `queue` allows %d", s.permits(), count(r.Waiting, "request"), r.QueueLimit)
	}
	s.saySlowRuns()
}

// displacer names the request that took this one's place in the queue.
func (s *story) displacer() string {
	if s.DisplacedBy == 0 {
		return "a request without an id"
	}
	return "request " + s.DisplacedBy.String()
}

func (s *story) sayDisplaced() {
	r, by := &s.Record, s.displacer()
	switch {
	case r.Displaced == offloader.ByFair:
		s.say("%s, more of them by its key than by that of %s, which got its place", places(r.Waiting), by)
	case s.DisplacedByClass != "":
		s.say("%s: %s, of class %s, is more urgent and got its place", places(r.Waiting), by, s.DisplacedByClass)
	default:
		s.say("%s: %s is more urgent and got its place", places(r.Waiting), by)
	}
}

// places describes a full queue.
func places(n int) string {
	if n == 1 {
		return "The only place in the queue was taken"
	}
	return fmt.Sprintf("All %d places in the queue were taken", n)
}

func (s *story) sayWaitTimeout() {
	r := &s.Record
	switch {
	case s.Budget.Decided:
		return
	case r.MaxWait == 0 || r.Waited < r.MaxWait:
		s.say("The time that its client had set was over")
		return
	case r.Held:
		s.say("`max_wait`, %s, was over before that", length(r.MaxWait))
		return
	}
	s.say("No permit came free for it within `max_wait`, %s", length(r.MaxWait))
	switch {
	case s.runsAreSlow():
		s.saySlowRuns()
	case r.Paused:
		s.say("%s", s.permits())
	case r.Before >= 0:
		s.say("%s", s.turn())
	}
}

// runsAreSlow reports whether the runs that held the permits were longer than usual. While
// a breaker holds callers, it is the reason that none comes free.
func (s *story) runsAreSlow() bool {
	return !s.Record.Held && s.Record.BusyFor > slowerThan*s.Record.Run
}

// saySlowRuns describes runs that have held their permits for longer than usual.
func (s *story) saySlowRuns() {
	r := &s.Record
	switch {
	case !s.runsAreSlow():
	case r.Run == 0:
		s.say("The same runs had held the permits for %s, and no run had ended before: `caddy offload running` lists them", length(r.BusyFor))
	default:
		s.say("The same runs had held the permits for %s, although the mean run is %s: `caddy offload running` lists them", length(r.BusyFor), length(r.Run))
	}
}

func (s *story) sayBreaker() {
	r := &s.Record
	switch {
	case r.BreakerForced && r.Held:
		s.say("The breaker held it in the queue, until an operator opened the breaker by hand")
	case r.BreakerForced:
		s.say("An operator held the breaker open")
	case r.Held:
		s.say("%s", s.held())
		s.say("`hold` was over before that")
	case r.Breaker == offloader.StateHalfOpen:
		s.say("The backend had failed too often, and the breaker let only probes pass")
	case r.ProbesIn > 0:
		s.say("The backend had failed too often, and the breaker was open: it was to probe %s later", length(r.ProbesIn))
	default:
		s.say("The backend had failed too often, and the breaker was open")
	}
}

// sayLimit explains why fewer permits were available than configured.
func (s *story) sayLimit() {
	r := &s.Record
	if !s.Recorded {
		return
	}
	if r.WarmingUp > 0 {
		s.say("The pool was warming up after its breaker had closed: %s at once %s allowed, of %s",
			count(r.WarmingUp, "new run"), be(r.WarmingUp), permitsOf(r.Concurrency))
	}
	if r.Lent > 0 {
		s.say("%s %s held by runs of pools that this one has replaced", count(r.Lent, "permit"), be(r.Lent))
	}
	if r.Configured != r.Concurrency {
		s.say("`concurrency` was overridden: %s in the place of %s", orOff(r.Concurrency), orOff(r.Configured))
	}
}

func permitsOf(concurrency int) string {
	if concurrency == 0 {
		return "permits without a limit"
	}
	return count(concurrency, "permit")
}

func orOff(concurrency int) string {
	if concurrency == 0 {
		return "off"
	}
	return fmt.Sprint(concurrency)
}

// sayRemedies lists the settings with which the request would have been served, by the
// numbers of its rejection.
func (s *story) sayRemedies() {
	if !s.Recorded || s.runsAreSlow() {
		return
	}
	if all := remedies(&s.Record); len(all) > 0 {
		s.say("By these numbers %s would have been enough", strings.Join(all, " or "))
	}
}

// remedies returns the least settings with which the caller would have been served. It
// returns none for a pool with fewer permits than configured, since settings do not help
// there.
func remedies(r *offloader.Record) (all []string) {
	if !r.Reason.Shed() || r.Paused || r.Held || r.WarmingUp > 0 || r.Lent > 0 || r.Concurrency == 0 || r.Run == 0 || r.Rest == 0 {
		return nil
	}
	if r.Reason == offloader.WaitTimeout && (r.MaxWait == 0 || r.Waited < r.MaxWait) {
		return nil
	}
	total := r.Waited + r.Rest
	permits := r.Concurrency + 1
	if r.MaxWait > 0 {
		permits = max(permits, int(math.Ceil(float64(total)*float64(r.Concurrency)/float64(r.MaxWait))))
	}
	all = append(all, fmt.Sprintf("`concurrency %d`", permits))
	switch {
	case r.Reason != offloader.QueueFull:
		all = append(all, fmt.Sprintf("`max_wait %s`", settingAbove(total)))
	case r.MaxWait == 0 || total <= r.MaxWait:
		all = append(all, fmt.Sprintf("`queue %d`", r.Waiting+1))
	}
	return all
}

// sayRest adds facts about the request that do not explain the decision.
func (s *story) sayRest() {
	if s.Unspooled != "" {
		s.say("Its body was passed on as it came: %s", s.Unspooled)
	}
	if s.Sends > 1 {
		s.say("It was sent to the backend %d times", s.Sends)
	}
	if s.Record.Retry > 0 {
		s.say("`Retry-After` asked its client to come back after %s", length(s.Record.Retry))
	}
}

func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
