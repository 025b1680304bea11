package celery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Settings configure a client. The zero value selects the defaults.
type Settings struct {
	// Queue for tasks that name none. Default: DefaultQueue.
	Queue string
	// NoExpiry stops Run from setting the caller's deadline as the task's expiry.
	// Celery 5.2 cannot retry a task that has an expiry: it drops the task, and no
	// result comes.
	NoExpiry bool
	// Revoke is what happens to the task of an abandoned call. Default: RevokeOff.
	Revoke RevokePolicy
	// RevokeEvery is the shortest time between two revoke commands. Each command goes to
	// all workers, which keep the revoked IDs for hours. Revokes in between are sent in one
	// command. Default: DefaultRevokeEvery.
	RevokeEvery time.Duration
}

// Client calls tasks. An idle client has no goroutine, and an open call takes a few hundred
// bytes.
type Client struct {
	broker   Broker
	backend  Backend // nil for none
	settings Settings
	revokes  revokes
	waiting  atomic.Int64 // open calls
}

// NewClient returns a client. With a nil backend it can send tasks, but not wait for them. The
// caller owns broker and backend, and closes them after the client.
func NewClient(broker Broker, backend Backend, s Settings) *Client {
	if s.Queue == "" {
		s.Queue = DefaultQueue
	}
	if s.RevokeEvery == 0 {
		s.RevokeEvery = DefaultRevokeEvery
	}
	c := &Client{broker: broker, backend: backend, settings: s}
	c.revokes.init(broker, s.RevokeEvery)
	return c
}

// Waiting returns the number of open calls.
func (c *Client) Waiting() int { return int(c.waiting.Load()) }

// Run calls a task and waits for its final state. The context's deadline becomes the expiry of
// the task, after which no worker starts it, unless NoExpiry is set or the task has an expiry.
// Run calls progress, unless that is nil, with earlier states. For a task that fails it
// returns the result and a *TaskError.
//
// If the context ends first, Run revokes the task by the client's policy and returns the cause
// of the context.
func (c *Client) Run(ctx context.Context, t Task, progress func(Result)) (Result, error) {
	if deadline, ok := ctx.Deadline(); ok && t.Expires.IsZero() && !c.settings.NoExpiry {
		t.Expires = deadline
	}
	call, err := c.Start(ctx, t)
	if err != nil {
		return Result{}, err
	}
	result, err := call.Wait(ctx, progress)
	if err != nil {
		call.Abandon()
		return Result{}, err
	}
	call.Close()
	return result, result.Err()
}

// Start calls a task and returns when the broker has accepted it. The caller must close the
// call.
func (c *Client) Start(ctx context.Context, t Task) (*Call, error) {
	if t.IgnoreResult {
		return nil, fmt.Errorf("%w: a result that is not stored cannot be awaited", ErrInvalidTask)
	}
	given := t.ID != "" && !t.FreshID
	m, err := c.encode(t)
	if err != nil {
		return nil, err
	}
	call, err := c.watch(ctx, m.CorrelationID)
	if err != nil {
		return nil, err
	}
	if r, ok := c.backend.(Replier); ok {
		m.ReplyTo = r.ReplyTo()
	}
	if err := c.publish(ctx, m, t.Idempotent); err != nil {
		c.leave(call, err)
		return nil, fmt.Errorf("sending task '%s': %w", t.Name, err)
	}
	if given { // the task may have ended before, and its result is not reported again
		if err := c.fetch(ctx, call); err != nil {
			call.Close()
			return nil, err
		}
	}
	return call, nil
}

// leave ends a call whose publishing has failed. If the broker has not confirmed the task,
// it may be in the queue, so it is revoked.
func (c *Client) leave(call *Call, err error) {
	if errors.Is(err, ErrUnconfirmed) {
		call.Abandon()
		return
	}
	call.Close()
}

// Send sends a task without waiting for its result, and returns its ID.
func (c *Client) Send(ctx context.Context, t Task) (string, error) {
	m, err := c.encode(t)
	if err != nil {
		return "", err
	}
	if err := c.publish(ctx, m, t.Idempotent); err != nil {
		return "", fmt.Errorf("sending task '%s': %w", t.Name, err)
	}
	return m.CorrelationID, nil
}

// Attach opens a call for a task that was sent before. The backend must be a Store: other
// backends report a state only once.
func (c *Client) Attach(ctx context.Context, id string) (*Call, error) {
	if err := checkName("id", id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidTask, err)
	}
	if _, ok := c.backend.(Store); !ok {
		return nil, fmt.Errorf("attaching to a task: %w by this backend", ErrUnsupported)
	}
	call, err := c.watch(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := c.fetch(ctx, call); err != nil {
		call.Close()
		return nil, err
	}
	return call, nil
}

// Revoke keeps workers from starting a task. With terminate they also end the process that
// runs it. The command is sent within RevokeEvery, together with others.
func (c *Client) Revoke(id string, terminate bool) {
	policy := RevokeOn
	if terminate {
		policy = RevokeTerminate
	}
	c.revokes.add(id, policy)
}

// Close sends pending revokes until the context ends. Open calls remain open until the backend
// is closed.
func (c *Client) Close(ctx context.Context) error { return c.revokes.close(ctx) }

func (c *Client) encode(t Task) (*Message, error) {
	if t.Queue == "" {
		t.Queue = c.settings.Queue
	}
	return t.Encode(time.Now())
}

func (c *Client) watch(ctx context.Context, id string) (*Call, error) {
	if c.backend == nil {
		return nil, fmt.Errorf("waiting for a result: %w without a result backend; pass one to NewClient, or use Send", ErrUnsupported)
	}
	call := newCall(c, id)
	if err := c.backend.Watch(ctx, id, call); err != nil {
		return nil, fmt.Errorf("watching task '%s': %w", id, err)
	}
	c.waiting.Add(1)
	return call, nil
}

func (c *Client) forget(call *Call) {
	if call.closed.CompareAndSwap(false, true) {
		c.waiting.Add(-1)
		c.backend.Unwatch(call.id, call)
	}
}

// fetch reports the stored state of the call's task, if the backend stores any.
func (c *Client) fetch(ctx context.Context, call *Call) error {
	store, ok := c.backend.(Store)
	if !ok {
		return nil
	}
	payload, err := store.Fetch(ctx, call.id)
	if err != nil {
		return fmt.Errorf("fetching the result of task '%s': %w", call.id, err)
	}
	if payload != nil {
		call.Report(payload)
	}
	return nil
}

// Times between two attempts to send an idempotent task.
const (
	firstResend = 50 * time.Millisecond
	lastResend  = time.Second
)

// publish sends a task. It repeats a failed attempt until the context ends if the task is
// idempotent.
func (c *Client) publish(ctx context.Context, m *Message, idempotent bool) error {
	for wait := firstResend; ; wait = min(2*wait, lastResend) {
		err := c.broker.Publish(ctx, m)
		if err == nil || !idempotent || !isLost(err) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

func isLost(err error) bool {
	return errors.Is(err, ErrUnconfirmed) || errors.Is(err, ErrUnavailable)
}
