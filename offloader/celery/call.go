package celery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Call is one task that somebody waits for. Next and Wait belong to one
// goroutine; Close and Abandon may be called from any.
type Call struct {
	id     string
	client *Client
	bell   chan struct{} // rings when something has come
	closed atomic.Bool

	mu     sync.Mutex
	latest []byte // newest state that has not been taken, guarded by mu
	final  bool   // latest is the last one, or err is; guarded by mu
	err    error  // guarded by mu
}

func newCall(c *Client, id string) *Call {
	return &Call{id: id, client: c, bell: make(chan struct{}, 1)}
}

// ID of the task.
func (c *Call) ID() string { return c.id }

// Report implements [Watcher]. Of several states that nobody has taken the
// newest is kept, and nothing that comes after the final one.
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
	c.ring()
}

// Fail implements [Watcher].
func (c *Call) Fail(err error) {
	c.mu.Lock()
	if !c.final {
		c.latest, c.err, c.final = nil, err, true
	}
	c.mu.Unlock()
	c.ring()
}

func (c *Call) ring() {
	select {
	case c.bell <- struct{}{}:
	default: // it rings already
	}
}

// Next waits for the next state that the task reports, progress or the final
// one. Progress that comes faster than it is taken is passed over: the newest
// counts. The error is the context's cause, or says why the state will never be
// known.
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
		case <-c.bell:
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	}
}

// take returns what Next has to say, if anything. The final state stays.
func (c *Call) take() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	payload := c.latest
	if !c.final {
		c.latest = nil
	}
	return payload, c.err
}

// Wait waits for the final state. It calls progress, which may be nil, with the
// others.
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

// Close ends the waiting. Each call must be closed; the task goes on.
func (c *Call) Close() {
	c.client.forget(c)
	c.Fail(ErrClosed)
}

// Abandon closes the call and revokes its task, as the client is set to do.
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
