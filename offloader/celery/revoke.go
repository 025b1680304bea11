package celery

import (
	"context"
	"errors"
	"sync"
	"time"
)

// RevokePolicy is what happens to the task of an abandoned call.
type RevokePolicy uint8

// Policies of revoking.
const (
	// RevokeOff does nothing. An expiry still keeps workers from starting the task.
	RevokeOff RevokePolicy = iota
	// RevokeOn keeps workers from starting the task.
	RevokeOn
	// RevokeTerminate also ends the process that runs the task.
	RevokeTerminate
)

// DefaultRevokeEvery is the shortest time between two revoke commands.
const DefaultRevokeEvery = 100 * time.Millisecond

const (
	maxRevoked    = 1000                  // IDs in one command
	maxPending    = 20 * maxRevoked       // IDs that wait, for each policy
	gatherRevokes = 10 * time.Millisecond // delay of a command after an idle time
	revokeTimeout = 5 * time.Second
)

// revokes collects tasks to revoke and sends commands for them at intervals of every. Its
// timer runs only while tasks are pending.
type revokes struct {
	controller Controller // nil for none
	every      time.Duration

	sending sync.Mutex // held while a command is sent

	mu      sync.Mutex
	pending map[RevokePolicy][]string // guarded by mu
	timer   *time.Timer               // nil while nothing is pending, guarded by mu
	last    time.Time                 // of the last command, guarded by mu
	closed  bool                      // guarded by mu
}

func (r *revokes) init(b Broker, every time.Duration) {
	r.controller, _ = b.(Controller)
	r.every = every
	r.pending = make(map[RevokePolicy][]string)
}

// add schedules a revoke. Beyond maxPending, revokes are dropped, and those tasks end only
// by their expiry.
func (r *revokes) add(id string, policy RevokePolicy) {
	if policy == RevokeOff || r.controller == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.pending[policy]) >= maxPending {
		return
	}
	r.pending[policy] = append(r.pending[policy], id)
	if r.timer == nil {
		r.timer = time.AfterFunc(max(gatherRevokes, time.Until(r.last.Add(r.every))), r.tick)
	}
}

func (r *revokes) tick() {
	ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
	defer cancel()
	_ = r.send(ctx) // no retry: tasks that are not revoked expire
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.pending) == 0 {
		r.timer = nil
		return
	}
	r.timer.Reset(r.every)
}

// send sends one command for each policy.
func (r *revokes) send(ctx context.Context) error {
	r.sending.Lock()
	defer r.sending.Unlock()
	var errs []error
	for _, policy := range []RevokePolicy{RevokeTerminate, RevokeOn} {
		if ids := r.take(policy); len(ids) > 0 {
			_, err := r.controller.Broadcast(ctx, RevokeTasks(ids, policy == RevokeTerminate))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *revokes) take(policy RevokePolicy) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	ids := r.pending[policy]
	if len(ids) > maxRevoked {
		r.pending[policy] = ids[maxRevoked:]
		return ids[:maxRevoked]
	}
	delete(r.pending, policy)
	return ids
}

// close sends the pending revokes and rejects new ones.
func (r *revokes) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	var errs []error
	for r.left() && ctx.Err() == nil {
		errs = append(errs, r.send(ctx))
	}
	r.sending.Lock() // waits for a command under way
	defer r.sending.Unlock()
	return errors.Join(errs...)
}

func (r *revokes) left() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending) > 0
}
