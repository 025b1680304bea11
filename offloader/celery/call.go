package celery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Call is an open call of a task, whose states and result the caller reads. Next and Wait
// must be called from one goroutine; Close and Abandon may be called from any.
type Call struct {
	id     string
	client *Client
	wake   chan struct{} // has an element if Next has something to look at
	closed atomic.Bool

	mu     sync.Mutex
	latest []byte // newest unread state, guarded by mu
	final  bool   // latest or err is final, guarded by mu
	err    error  // why no state will come, guarded by mu
}

func newCall(c *Client, id string) *Call {
	return &Call{id: id, client: c, wake: make(chan struct{}, 1)}
}

// ID returns the ID of the task.
func (c *Call) ID() string { return c.id }

// Report implements [Watcher]. It keeps the newest unread state, and ignores states after the
// final one.
func (c *Call) Report(payload []byte) {
	state, err := stateOf(payload)
	c.mu.Lock()
	if c.final {
		c.mu.Unlock()
		return
	}
	c.latest, c.err = payload, err
	c.final = err != nil || state.Final()
	c.mu.Unlock()
	c.wakeNext()
}

// Fail implements [Watcher].
func (c *Call) Fail(err error) {
	c.mu.Lock()
	if !c.final {
		c.latest, c.err, c.final = nil, err, true
	}
	c.mu.Unlock()
	c.wakeNext()
}

func (c *Call) wakeNext() {
	select {
	case c.wake <- struct{}{}:
	default: // Next will wake up already
	}
}

// Next waits for the next state of the task, progress or final. If states come faster than
// they are read, it returns the newest. The error is the cause of the context, or the reason
// why no state will come. It returns a final state again each time.
func (c *Call) Next(ctx context.Context) (Result, error) {
	for {
		payload, err := c.take()
		if err != nil {
			return Result{}, fmt.Errorf("task '%s': %w", c.id, err)
		}
		if payload != nil {
			result, err := DecodeResult(payload)
			if err != nil {
				return Result{}, fmt.Errorf("task '%s': %w", c.id, err)
			}
			return result, nil
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	}
}

// take returns the unread state, or nil. A final state remains.
func (c *Call) take() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	payload := c.latest
	if !c.final {
		c.latest = nil
	}
	return payload, c.err
}

// Wait waits for the final state. It calls progress, unless that is nil, with earlier states.
func (c *Call) Wait(ctx context.Context, progress func(Result)) (Result, error) {
	for {
		result, err := c.Next(ctx)
		if err != nil || result.State.Final() {
			return result, err
		}
		if progress != nil {
			progress(result)
		}
	}
}

// Close ends the call. A running Next or Wait returns ErrClosed. The task continues. Every
// call must be closed.
func (c *Call) Close() {
	c.client.forget(c)
	c.Fail(ErrClosed)
}

// Abandon closes the call and revokes its task, by the client's policy.
func (c *Call) Abandon() {
	ended := c.ended()
	c.Close()
	if !ended {
		c.client.revokes.add(c.id, c.client.settings.Revoke)
	}
}

func (c *Call) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.final
}
