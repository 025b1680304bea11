package celery

import (
	"context"
	"errors"
	"sync"
	"time"
)

// RevokePolicy says what becomes of a task whose caller has left.
type RevokePolicy uint8

// Policies of revoking.
const (
	// RevokeOff lets the task be. One that expires is not started any more.
	RevokeOff RevokePolicy = iota
	// RevokeOn keeps it from being started.
	RevokeOn
	// RevokeTerminate also ends the worker's process that runs it.
	RevokeTerminate
)

// DefaultRevokeEvery is the shortest time between two commands that revoke.
const DefaultRevokeEvery = 100 * time.Millisecond

const (
	maxRevoked    = 1000                  // IDs in one command
	maxPending    = 20 * maxRevoked       // IDs that wait for theirs
	gatherRevokes = 10 * time.Millisecond // before the first command after a while
	revokeTimeout = 5 * time.Second
)

// revokes gathers tasks to revoke and sends commands for them, not too often. It
// has no goroutine but that of its timer, which runs while something is pending.
type revokes struct {
	controller Controller // nil for none
	every      time.Duration

	sending sync.Mutex // held while a command goes out

	mu      sync.Mutex
	pending map[RevokePolicy][]string // guarded by mu
	timer   *time.Timer               // nil while nothing is pending, guarded by mu
	last    time.Time                 // when the last command went out, guarded by mu
	closed  bool                      // guarded by mu
}

func (r *revokes) init(b Broker, every time.Duration) {
	r.controller, _ = b.(Controller)
	r.every = every
	r.pending = make(map[RevokePolicy][]string)
}

// add has a task revoked soon. More than can be told in time are let be: their
// expiry has to do.
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
	_ = r.send(ctx) // nobody waits for it: what it could not revoke expires
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

// close sends what is pending and takes no more.
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
