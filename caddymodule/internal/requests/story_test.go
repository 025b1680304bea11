package requests

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// Explanations of recorded cases.
func TestSentences(t *testing.T) {
	t.Parallel()
	rejected := func(r offloader.Record) Explanation {
		return Explanation{Decision: DecidedRejected, Reason: r.Reason, Recorded: true, Record: r, Waited: r.Waited}
	}
	displaced := func(r offloader.Record, class string) Explanation {
		e := rejected(r)
		e.DisplacedBy, e.DisplacedByClass = 7, class
		return e
	}
	// A pool with one permit and ten seconds to wait, whose runs take 293 ms.
	pool := offloader.Record{
		Run: 293 * ms, Waiting: 18, QueueLimit: 100, MaxWait: 10 * sec,
		Running: 1, Limit: 1, Concurrency: 1, Configured: 1, CappedLimit: 1, Breaker: offloader.StateClosed,
	}
	with := func(change func(r *offloader.Record)) offloader.Record {
		r := pool
		change(&r)
		return r
	}
	for name, test := range map[string]struct {
		e    Explanation
		want string
	}{
		"predicted late": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Predicted, r.Waited = offloader.PredictedLate, true, 216*ms, 4800*ms
				r.NewestFirst, r.Before, r.Rest, r.Retry = true, 17, 5274*ms, 8*sec
			})), `
It was rejected (predicted_late) after 4.8 s in the queue.
When it came, no other waiter was to be served before it, and a wait of 216 ms was predicted.
17 waiters stood before it then, newest first: with a mean run of 293 ms and 1 permit its turn was 5.3 s away. That makes 10.1 s, and ''max_wait'' is 10 s.
By these numbers ''concurrency 2'' or ''max_wait 11s'' would have been enough.
''Retry-After'' asked its client to come back after 8 s.`,
		},
		"displaced by a more urgent one": {
			displaced(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Waited, r.Displaced, r.Waiting = offloader.Displaced, true, 2*sec, offloader.ByUrgent, 100
				r.Before, r.Claim = offloader.UnknownPlace, offloader.Claim{Key: "a", Class: "batch", Cost: 2}
			}), "interactive"), `
It was rejected (displaced) after 2 s in the queue.
It was of class batch, counted for key "a", worth 2 permits.
When it came, no other waiter was to be served before it.
All 100 places in the queue were taken: request ` + ID(7).String() + `, of class interactive, is more urgent and got its place.`,
		},
		"displaced by a less greedy one": {
			displaced(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Waited, r.Displaced, r.Waiting = offloader.Displaced, true, 2*sec, offloader.ByFair, 100
				r.Before, r.Claim = offloader.UnknownPlace, offloader.Claim{Key: "a", Cost: 1}
			}), ""), `
It was rejected (displaced) after 2 s in the queue.
It was counted for key "a".
When it came, no other waiter was to be served before it.
All 100 places in the queue were taken, more of them by its key than by that of request ` + ID(7).String() + `, which got its place.`,
		},
		"too many of a key": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.KeyWaiting, r.Before = offloader.KeyQueueFull, 20, offloader.UnknownPlace
				r.Claim = offloader.Claim{Key: "a", Cost: 1}
			})), `
It was rejected (key_queue_full) on arrival.
It was counted for key "a".
20 requests of its key waited, and ''queue_per_key'' allows no more.`,
		},
		"late by a millisecond": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Ahead, r.Waited = offloader.PredictedLate, true, 1, 4728*ms
				r.NewestFirst, r.Before, r.Rest = true, 17, 5273*ms
			})), `
It was rejected (predicted_late) after 4.7 s in the queue.
When it came, 1 waiter was to be served before it.
17 waiters stood before it then, newest first: with a mean run of 293 ms and 1 permit its turn was 5.3 s away. That makes 10.001 s, and ''max_wait'' is 10 s.
By these numbers ''concurrency 2'' or ''max_wait 11s'' would have been enough.`,
		},
		"a full queue": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Waiting, r.QueueLimit, r.Before, r.Rest = offloader.QueueFull, 20, 20, 20, 6153*ms
			})), `
It was rejected (queue_full) on arrival.
1 of 1 permit was in use, and 20 requests waited, where ''queue'' allows 20.
By these numbers ''concurrency 2'' or ''queue 21'' would have been enough.`,
		},
		"a full queue that takes too long": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Waiting, r.QueueLimit, r.Before, r.Rest = offloader.QueueFull, 100, 100, 100, 29593*ms
			})), `
It was rejected (queue_full) on arrival.
1 of 1 permit was in use, and 100 requests waited, where ''queue'' allows 100.
By these numbers ''concurrency 3'' would have been enough.`,
		},
		"no queue": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Waiting, r.QueueLimit, r.Rest = offloader.QueueFull, 0, 0, 293*ms
			})), `
It was rejected (queue_full) on arrival.
1 of 1 permit was in use, and the pool has no queue.
By these numbers ''concurrency 2'' or ''queue 1'' would have been enough.`,
		},
		"displaced by a newer one": {
			func() Explanation {
				e := rejected(with(func(r *offloader.Record) {
					r.Reason, r.Joined, r.Predicted, r.Waited = offloader.QueueFull, true, 101*ms, 401*ms
					r.NewestFirst, r.Before, r.Waiting, r.Rest, r.Displaced = true, 99, 100, 29300*ms, offloader.ByNewer
				}))
				e.DisplacedBy = 7
				return e
			}(), `
It was rejected (queue_full) after 401 ms in the queue.
When it came, no other waiter was to be served before it, and a wait of 101 ms was predicted.
All 100 places in the queue were taken, and the queue was too long to be served in order: request SEVEN, which is newer, got its place.
By these numbers ''concurrency 3'' would have been enough.`,
		},
		"displaced by a turn": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Ahead, r.Waited = offloader.QueueFull, true, 4, 401*ms
				r.Before, r.Waiting, r.QueueLimit, r.Rest, r.Displaced = 4, 5, 5, 1465*ms, offloader.ByTurn
			})), `
It was rejected (queue_full) after 401 ms in the queue.
When it came, 4 waiters were to be served before it.
All 5 places in the queue were taken: a request without an id came back when its ''Retry-After'' was over, and got its place.
By these numbers ''concurrency 2'' or ''queue 6'' would have been enough.`,
		},
		"waited too long": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Ahead, r.Waited = offloader.WaitTimeout, true, 35, 10*sec
				r.Before, r.Rest, r.Order = 3, 1172*ms, offloader.OrderFIFO
			})), `
It was rejected (wait_timeout) after 10 s in the queue.
When it came, 35 waiters were to be served before it.
No permit came free for it within ''max_wait'', 10 s.
3 waiters stood before it then, by ''order fifo'': with a mean run of 293 ms and 1 permit its turn was 1.2 s away.
By these numbers ''concurrency 2'' or ''max_wait 12s'' would have been enough.`,
		},
		"behind a long run": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Waited = offloader.WaitTimeout, true, 10*sec
				r.Rest, r.Waiting, r.BusyFor = 293*ms, 1, 25*sec
			})), `
It was rejected (wait_timeout) after 10 s in the queue.
When it came, no other waiter was to be served before it.
No permit came free for it within ''max_wait'', 10 s.
The same runs had held the permits for 25 s, although the mean run is 293 ms: ''caddy offload running'' lists them.`,
		},
		"its own deadline": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Ahead, r.Waited, r.Before = offloader.WaitTimeout, true, 5, 2*sec, offloader.UnknownPlace
			})), `
It was rejected (wait_timeout) after 2 s in the queue.
When it came, 5 waiters were to be served before it.
The time that its client had set was over.`,
		},
		"an open breaker": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Breaker, r.ProbesIn, r.Retry = offloader.BreakerOpen, offloader.StateOpen, 9800*ms, 10*sec
			})), `
It was rejected (breaker_open) on arrival.
The backend had failed too often, and the breaker was open: it was to probe 9.8 s later.
''Retry-After'' asked its client to come back after 10 s.`,
		},
		"a forced breaker": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Breaker, r.BreakerForced = offloader.BreakerOpen, offloader.StateOpen, true
			})), `
It was rejected (breaker_open) on arrival.
An operator held the breaker open.`,
		},
		"an end of a hold": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Ahead, r.Predicted, r.Waited, r.Held = offloader.BreakerOpen, true, 3, 1172*ms, 5*sec, true
				r.Running, r.Before, r.Rest, r.BusyFor = 0, 0, 293*ms, 4*sec
				r.Breaker, r.ProbesIn, r.Retry = offloader.StateOpen, 1200*ms, 2*sec
			})), `
It was rejected (breaker_open) after 5 s in the queue.
When it came, 3 waiters were to be served before it.
The breaker had tripped, and requests waited for it to close: it was to probe 1.2 s later.
''hold'' was over before that.
''Retry-After'' asked its client to come back after 2 s.`,
		},
		"an end of a hold during a probe": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Waited, r.Held = offloader.BreakerOpen, true, 5*sec, true
				r.Breaker = offloader.StateHalfOpen
			})), `
It was rejected (breaker_open) after 5 s in the queue.
When it came, no other waiter was to be served before it.
The breaker had tripped, and requests waited for it to close: it let only probes pass.
''hold'' was over before that.`,
		},
		"an operator who ends a hold": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Waited, r.Held = offloader.BreakerOpen, true, sec, true
				r.Breaker, r.BreakerForced = offloader.StateOpen, true
			})), `
It was rejected (breaker_open) after 1 s in the queue.
When it came, no other waiter was to be served before it.
The breaker held it in the queue, until an operator opened the breaker by hand.`,
		},
		"max_wait during a hold": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Ahead, r.Predicted, r.Waited, r.Held = offloader.WaitTimeout, true, 3, 1172*ms, 10*sec, true
				r.Before, r.Rest, r.BusyFor, r.Breaker = 2, 879*ms, 9*sec, offloader.StateHalfOpen
			})), `
It was rejected (wait_timeout) after 10 s in the queue.
When it came, 3 waiters were to be served before it.
The breaker had tripped, and requests waited for it to close: it let only probes pass.
''max_wait'', 10 s, was over before that.`,
		},
		"its own deadline during a hold": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Joined, r.Waited, r.Held = offloader.WaitTimeout, true, 2*sec, true
				r.Before, r.Breaker, r.ProbesIn = offloader.UnknownPlace, offloader.StateOpen, 400*ms
			})), `
It was rejected (wait_timeout) after 2 s in the queue.
When it came, no other waiter was to be served before it.
The breaker had tripped, and requests waited for it to close: it was to probe 400 ms later.
The time that its client had set was over.`,
		},
		"a full queue during a hold": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Waiting, r.QueueLimit, r.Before, r.Rest, r.Held = offloader.QueueFull, 20, 20, 20, 6153*ms, true
				r.Running, r.Breaker, r.ProbesIn = 0, offloader.StateOpen, 400*ms
			})), `
It was rejected (queue_full) on arrival.
The breaker had tripped, and requests waited for it to close: it was to probe 400 ms later.
20 requests waited, where ''queue'' allows 20.`,
		},
		"left during a hold": {
			Explanation{Decision: DecidedLeft, Recorded: true, Record: with(func(r *offloader.Record) {
				r.Joined, r.Ahead, r.Waited, r.Held, r.Breaker = true, 3, 2*sec, true, offloader.StateOff
			})}, `
Its client left after 2 s in the queue.
When it came, 3 waiters were to be served before it.
The breaker had tripped, and requests waited for it to close.`,
		},
		"served after a hold": {
			Explanation{
				Decision: DecidedServed, Status: 200, Waited: 1500 * ms, Took: 300 * ms, Recorded: true,
				Record: with(func(r *offloader.Record) {
					r.Joined, r.Ahead, r.Predicted, r.Waited, r.Held = true, 12, 2300*ms, 1500*ms, true
					r.Running, r.Breaker = 0, offloader.StateOff
				}),
			}, `
It was served in 1.8 s, with status 200: 1.5 s in the queue, 300 ms for its run.
When it came, 12 waiters were to be served before it.
The breaker had tripped, and requests waited for it to close.`,
		},
		"a warm-up with an override": {
			rejected(with(func(r *offloader.Record) {
				r.Reason, r.Waiting, r.QueueLimit, r.Before, r.Rest = offloader.QueueFull, 20, 20, 20, 600*ms
				r.WarmingUp, r.Limit, r.Concurrency, r.Configured = 1, 1, 16, 8
			})), `
It was rejected (queue_full) on arrival.
1 of 1 permit was in use, and 20 requests waited, where ''queue'' allows 20.
The pool was warming up after its breaker had closed: 1 new run at once was allowed, of 16 permits.
''concurrency'' was overridden: 16 in the place of 8.`,
		},
		"unspooled": {
			func() Explanation {
				e := rejected(with(func(r *offloader.Record) { r.Reason, r.Capped, r.CappedLimit = UnspooledLimit, 4, 4 }))
				e.Unspooled = "ndjson"
				return e
			}(), `
It was rejected (unspooled_limit) on arrival.
Its body is passed on as it comes, and such requests held 4 of the 4 permits that they share.
Its body was passed on as it came: ndjson.`,
		},
		"no room for its body": {Explanation{Decision: DecidedRejected, Reason: SpoolFull, Upload: 3 * sec}, `
It was rejected (spool_full) after its body had been read for 3 s.
No room to keep the body.`},
		"timed out": {Explanation{Decision: DecidedTimedOut, Reason: FirstByteTimeout, Took: 60 * sec, Sends: 2}, `
Its run was ended after 60 s (first_byte_timeout): the answer did not begin in time.
It was sent to the backend 2 times.`},
		"cancelled":       {Explanation{Decision: DecidedCancelled, Reason: offloader.Cancelled, Took: 3 * sec}, "\nAn operator cancelled it after 3 s of its run."},
		"left on arrival": {Explanation{Decision: DecidedLeft}, "\nIts client left on arrival."},
		"abandoned":       {Explanation{Decision: DecidedAbandoned, Took: 90 * sec}, "\nIts client left before it had the answer, and its run went on: it took 90 s."},
		"served at once": {Explanation{Decision: DecidedServed, Status: 200, Took: 30 * ms}, `
It was served in 30 ms, with status 200: 30 ms for its run.
A permit was free when it came.`},
		"served after a wait": {
			Explanation{
				Decision: DecidedServed, Status: 200, Upload: 500 * ms, Waited: 2100 * ms, Took: 3 * sec, Handed: 200 * ms, Recorded: true,
				Record: with(func(r *offloader.Record) {
					r.Joined, r.Ahead, r.Predicted, r.Waited = true, 12, 2300*ms, 2100*ms
					r.Running, r.Limit, r.Concurrency, r.Configured = 4, 4, 4, 4
				}),
			}, `
It was served in 5.8 s, with status 200: 500 ms for its body, 2.1 s in the queue, 3 s for its run, 200 ms until its client had the rest.
When it came, 12 waiters were to be served before it, and a wait of 2.3 s was predicted.
4 of 4 permits were in use.`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := strings.NewReplacer("''", "`", "SEVEN", ID(7).String()).Replace(test.want[1:])
			if got := strings.Join(test.e.Sentences(), "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestSentencesOfPendingRequests(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]View{
		"Its body has been read for 2 s, and it has neither a place nor a permit.":                                                       {Phase: PhaseUploading, InPhase: 2 * sec},
		"It has waited for 3 s, and is at place 13 in the order of service.":                                                             {Phase: PhaseWaiting, InPhase: 3 * sec, Position: 13},
		"It has waited for 3 s, and is at place 13 in the order of service. The breaker has tripped, and requests wait for it to close.": {Phase: PhaseWaiting, InPhase: 3 * sec, Position: 13, Held: true},
		"It is about to get a place or a permit.":                                                                                        {Phase: PhaseWaiting},
		"It has held a permit for 5 min.":                                                                                                {Phase: PhaseRunning, InPhase: 5 * time.Minute},
		"Its run has ended, and its client has been receiving the rest for less than 1 ms.":                                              {Phase: PhaseStreaming},
		"Its connection was upgraded 3 h ago, and holds no permit.":                                                                      {Phase: PhaseUpgraded, InPhase: 3 * time.Hour},
		"It has held a permit for 2 s. No client waits for its answer: its permit comes back when the backend has ended.":                {Phase: PhaseRunning, InPhase: 2 * sec, Abandoned: true},
	} {
		if got := strings.Join(v.Sentences(), " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
