package celery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Settings of a client. The zero value is a good choice.
type Settings struct {
	// Queue for tasks that name none. Default: DefaultQueue.
	Queue string
	// NoExpiry keeps the deadlines of callers out of their tasks. Celery 5.2
	// cannot retry a task that expires: it drops it, and no result ever comes.
	NoExpiry bool
	// Revoke says what becomes of a task whose caller has left. Default:
	// RevokeOff.
	Revoke RevokePolicy
	// RevokeEvery is the shortest time between two commands that revoke: each
	// goes to all workers, and is remembered there for hours. What comes in
	// between is gathered into one. Default: DefaultRevokeEvery.
	RevokeEvery time.Duration
}

// Client calls tasks. It costs nothing while no call is under way, and a call
// that waits costs some hundred bytes.
type Client struct {
	broker   Broker
	backend  Backend // nil for none
	settings Settings
	revokes  revokes
	waiting  atomic.Int64
}

// NewClient returns a client. Without a backend it can send tasks and not wait
// for them. Broker and backend stay their owner's, who closes them after the
// client.
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

// Waiting returns how many calls are open.
func (c *Client) Waiting() int { return int(c.waiting.Load()) }

// Run calls a task and waits for its final state. The context's deadline is the
// task's too, unless the settings say otherwise: after it the worker does not
// start it any more. progress, which
// may be nil, is called with the states before the final one. A task that fails
// is a *TaskError beside its result.
//
// If the context ends first the task is revoked, as far as the client is set to,
// and the error is the context's cause.
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

// Start calls a task and returns when the broker has it. The call must be
// closed.
func (c *Client) Start(ctx context.Context, t Task) (*Call, error) {
	if t.IgnoreResult {
		return nil, fmt.Errorf("%w: nobody can wait for a task that keeps no result", ErrInvalidTask)
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
	if given { // it may have run before: then its result is not reported again
		if err := c.fetch(ctx, call); err != nil {
			call.Close()
			return nil, err
		}
	}
	return call, nil
}

// leave ends a call whose task may be in the queue after all.
func (c *Client) leave(call *Call, err error) {
	if errors.Is(err, ErrUnconfirmed) {
		call.Abandon()
		return
	}
	call.Close()
}

// Send calls a task without waiting, and returns its ID.
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

// Attach waits for a task that was sent before. The backend must be a Store:
// others do not report again what they have reported.
func (c *Client) Attach(ctx context.Context, id string) (*Call, error) {
	if err := checkName("id", id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidTask, err)
	}
	if _, ok := c.backend.(Store); !ok {
		return nil, fmt.Errorf("waiting for a task sent before: %w by this backend", ErrUnsupported)
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

// Revoke keeps a task from being started. With terminate it also ends the
// process that runs it. The command goes out soon, with others.
func (c *Client) Revoke(id string, terminate bool) {
	policy := RevokeOn
	if terminate {
		policy = RevokeTerminate
	}
	c.revokes.add(id, policy)
}

// Close sends what is left to revoke, for as long as the context allows.
// Calls that are open stay so until the backend is closed.
func (c *Client) Close(ctx context.Context) error { return c.revokes.close(ctx) }

func (c *Client) encode(t Task) (*Message, error) {
	if t.Queue == "" {
		t.Queue = c.settings.Queue
	}
	return t.Encode(time.Now())
}

func (c *Client) watch(ctx context.Context, id string) (*Call, error) {
	if c.backend == nil {
		return nil, fmt.Errorf("waiting for a result: %w without a backend", ErrUnsupported)
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

// fetch reports what a store has of the call's task already.
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

// Times between two attempts to send a task that may run twice.
const (
	firstResend = 50 * time.Millisecond
	lastResend  = time.Second
)

// publish sends a task, again and again if that does no harm.
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
