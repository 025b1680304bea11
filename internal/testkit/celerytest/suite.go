package celerytest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// suiteTimeout limits each test. Only a test that hangs takes that long.
const suiteTimeout = time.Minute

// Run runs the suite. Each test gets a new system from open, and closes it.
func Run(t *testing.T, open func(t *testing.T) System) {
	for _, test := range []struct {
		name string
		play func(*scene)
	}{
		{"a task arrives as it was sent", taskArrives},
		{"a result comes back", resultComesBack},
		{"states come in order and only those of the task", statesInOrder},
		{"several may watch one task", severalWatchers},
		{"a removed watcher receives nothing", unwatched},
		{"a thousand wait at once and each gets its own", thousandWait},
		{"results outlive a broken connection", interrupted},
		{"calls made while connections break end", callsWhileBreaking},
		{"a caller whose context has ended is sent away", contextEnded},
		{"closing ends all waiting", closing},
		{"commands reach workers", commands},
		{"workers reply to commands", replies},
		{"heartbeats are passed on", heartbeats},
		{"what was stored can be fetched", stored},
		{"a task can be aborted", aborting},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
			s := &scene{t: t, ctx: ctx, system: open(t)}
			s.client = celery.NewClient(s.system.Broker(), s.system.Backend(), celery.Settings{})
			defer func() {
				if err := s.system.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
				cancel()
				s.busy.Wait()
			}()
			test.play(s)
		})
	}
}

// scene is the state of one test of the suite.
type scene struct {
	t      *testing.T
	ctx    context.Context
	system System
	client *celery.Client
	busy   sync.WaitGroup
}

// work runs a worker in the background.
func (s *scene) work(play func(*celery.Message) [][]byte) {
	s.busy.Go(func() {
		// Work returns an error when it loses its connection. A real worker
		// reconnects.
		for s.ctx.Err() == nil {
			if Work(s.ctx, s.system, celery.DefaultQueue, play) == nil {
				return
			}
			s.pause()
		}
	})
}

// pause waits a moment before the next attempt.
func (s *scene) pause() { testkit.PauseUntil(s.ctx, 10*time.Millisecond) }

func (s *scene) start(t celery.Task) *celery.Call {
	s.t.Helper()
	call, err := s.client.Start(s.ctx, t)
	if err != nil {
		s.t.Fatal(err)
	}
	return call
}

func (s *scene) take() *celery.Message {
	s.t.Helper()
	m, err := s.system.Take(s.ctx, celery.DefaultQueue)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *scene) report(task *celery.Message, payload []byte) {
	s.t.Helper()
	if err := s.system.Report(s.ctx, task, payload); err != nil {
		s.t.Fatal(err)
	}
}

// wantNext checks the next state of a call.
func (s *scene) wantNext(call *celery.Call, state celery.State, value string) {
	s.t.Helper()
	result, err := call.Next(s.ctx)
	if err != nil || result.State != state || string(result.Value) != value {
		s.t.Fatalf("%v %s %s, want %s %s", err, result.State, result.Value, state, value)
	}
}

func taskArrives(s *scene) {
	task := celery.Task{
		Name: "lab.echo", Args: []any{1, "zwei"}, Kwargs: map[string]any{"k": nil},
		Headers: map[string]any{"traceparent": "00-1-2-01", "deep": map[string]any{"list": []any{1, "a", nil, true}}},
	}
	call := s.start(task)
	defer call.Close()
	m := s.take()
	if m.CorrelationID != call.ID() || m.Headers["id"] != call.ID() || m.Headers["task"] != "lab.echo" {
		s.t.Errorf("the message is about %q %v %v, want %q", m.CorrelationID, m.Headers["id"], m.Headers["task"], call.ID())
	}
	if args := Arguments(m); len(args) != 2 || string(args[1]) != `"zwei"` {
		s.t.Errorf("body: %s", m.Body)
	}
	if m.ContentType != "application/json" || m.ContentEncoding != "utf-8" || m.RoutingKey != celery.DefaultQueue {
		s.t.Errorf("content %s %s for %s", m.ContentType, m.ContentEncoding, m.RoutingKey)
	}
	deep, _ := m.Headers["deep"].(map[string]any)
	if list, _ := deep["list"].([]any); len(list) != 4 || list[1] != "a" || list[3] != true {
		s.t.Errorf("headers: %v", m.Headers)
	}
}

func resultComesBack(s *scene) {
	s.work(Echo)
	result, err := s.client.Run(s.ctx, celery.Task{Name: "lab.echo", Args: []any{"done"}}, nil)
	if err != nil || string(result.Value) != `"done"` {
		s.t.Fatalf("%s, %v", result.Value, err)
	}
	if n := s.client.Waiting(); n != 0 {
		s.t.Errorf("%d calls are open", n)
	}
}

func statesInOrder(s *scene) {
	one, other := s.start(celery.Task{Name: "lab.a"}), s.start(celery.Task{Name: "lab.b"})
	defer one.Close()
	defer other.Close()
	for range 2 {
		m := s.take()
		call := one
		if m.CorrelationID == other.ID() {
			call = other
		}
		for n := range 3 {
			value := strconv.Itoa(n)
			s.report(m, State(call.ID(), "PROGRESS", value))
			s.wantNext(call, "PROGRESS", value)
		}
		s.report(m, State(call.ID(), celery.Success, `"`+call.ID()+`"`))
		s.wantNext(call, celery.Success, `"`+call.ID()+`"`)
	}
}

// ear is a watcher that records reports and errors.
type ear struct {
	heard chan string
}

func newEar() *ear { return &ear{heard: make(chan string, 1024)} }

func (e *ear) Report(payload []byte) { e.heard <- string(payload) }
func (e *ear) Fail(err error)        { e.heard <- err.Error() }

func (s *scene) watch(id string) *ear {
	s.t.Helper()
	e := newEar()
	if err := s.system.Backend().Watch(s.ctx, id, e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s *scene) wantHeard(e *ear, part string) {
	s.t.Helper()
	select {
	case heard := <-e.heard:
		if !strings.Contains(heard, part) {
			s.t.Fatalf("heard %s, want %s", heard, part)
		}
	case <-s.ctx.Done():
		s.t.Fatalf("heard nothing, want %s", part)
	}
}

func severalWatchers(s *scene) {
	call := s.start(celery.Task{Name: "lab.a"})
	defer call.Close()
	m := s.take()
	first, second := s.watch(call.ID()), s.watch(call.ID())
	s.report(m, State(call.ID(), "PROGRESS", "1"))
	s.wantHeard(first, `"PROGRESS"`)
	s.wantHeard(second, `"PROGRESS"`)
	s.system.Backend().Unwatch(call.ID(), first)
	s.report(m, Succeed(m, "2"))
	s.wantHeard(second, `"SUCCESS"`)
	result, err := call.Wait(s.ctx, nil)
	if err != nil || result.State != celery.Success {
		s.t.Errorf("%v %v", result, err)
	}
	if len(first.heard) != 0 {
		s.t.Errorf("the removed watcher received %s", <-first.heard)
	}
	s.system.Backend().Unwatch(call.ID(), second)
}

func unwatched(s *scene) {
	call := s.start(celery.Task{Name: "lab.a"})
	m := s.take()
	gone := s.watch(call.ID())
	s.system.Backend().Unwatch(call.ID(), gone)
	s.system.Backend().Unwatch(call.ID(), gone) // no effect
	call.Close()
	s.report(m, Succeed(m, "1"))
	s.work(Echo) // a later result shows that the report was delivered
	if _, err := s.client.Run(s.ctx, celery.Task{Name: "lab.echo"}, nil); err != nil {
		s.t.Fatal(err)
	}
	if len(gone.heard) != 0 {
		s.t.Errorf("heard %s", <-gone.heard)
	}
}

func thousandWait(s *scene) {
	const callers = 1000
	s.work(Echo)
	s.work(Echo)
	errs := make(chan error, callers)
	for n := range callers {
		s.busy.Go(func() {
			result, err := s.client.Run(s.ctx, celery.Task{Name: "lab.echo", Args: []any{n}}, nil)
			if err == nil && string(result.Value) != strconv.Itoa(n) {
				err = fmt.Errorf("caller %d got %s", n, result.Value)
			}
			errs <- err
		})
	}
	for range callers {
		if err := <-errs; err != nil {
			s.t.Fatal(err)
		}
	}
}

// interrupted tests that states that are reported without a connection arrive after the
// reconnect.
func interrupted(s *scene) {
	for range 5 {
		call := s.start(celery.Task{Name: "lab.a"})
		m := s.take()
		s.system.Interrupt()
		for s.system.Report(s.ctx, m, Succeed(m, "42")) != nil && s.ctx.Err() == nil {
			s.pause() // the worker's connection may be cut too
		}
		s.wantNext(call, celery.Success, "42")
		call.Close()
	}
}

// callsWhileBreaking tests that each call ends with its result or a documented error while
// connections are cut.
func callsWhileBreaking(s *scene) {
	const callers, each = 20, 5
	s.work(Echo)
	var answered, failed int
	results := make(chan error, callers*each)
	for range callers {
		s.busy.Go(func() {
			for range each {
				_, err := s.client.Run(s.ctx, celery.Task{Name: "lab.echo", Args: []any{1}, Idempotent: true}, nil)
				results <- err
			}
		})
	}
	for n := range callers * each {
		if n%20 == 10 {
			s.system.Interrupt()
		}
		switch err := <-results; {
		case err == nil:
			answered++
		case errors.Is(err, celery.ErrUnavailable), errors.Is(err, celery.ErrUnconfirmed), errors.Is(err, celery.ErrResultLost):
			failed++
		default:
			s.t.Errorf("a call ended with %v", err)
		}
	}
	if answered == 0 {
		s.t.Errorf("none was answered, %d failed", failed)
	}
}

var errLeft = errors.New("the caller left")

func contextEnded(s *scene) {
	ctx, leave := context.WithCancelCause(s.ctx)
	leave(errLeft)
	if err := s.system.Backend().Watch(ctx, celery.NewID(), newEar()); !errors.Is(err, errLeft) {
		s.t.Errorf("watching: %v", err)
	}
	if _, err := s.client.Send(ctx, celery.Task{Name: "lab.a"}); !errors.Is(err, errLeft) {
		s.t.Errorf("sending: %v", err)
	}
	waiting, leave := context.WithCancelCause(s.ctx)
	call := s.start(celery.Task{Name: "lab.a"})
	defer call.Close()
	leave(errLeft)
	if _, err := call.Wait(waiting, nil); !errors.Is(err, errLeft) {
		s.t.Errorf("waiting: %v", err)
	}
}

func closing(s *scene) {
	call := s.start(celery.Task{Name: "lab.a"})
	defer call.Close()
	if err := s.system.Close(); err != nil {
		s.t.Errorf("closing: %v", err)
	}
	if _, err := call.Next(s.ctx); !errors.Is(err, celery.ErrClosed) {
		s.t.Errorf("waiting: %v", err)
	}
	if _, err := s.client.Start(s.ctx, celery.Task{Name: "lab.a"}); !errors.Is(err, celery.ErrClosed) {
		s.t.Errorf("starting: %v", err)
	}
}

func stored(s *scene) {
	store, ok := s.system.Backend().(celery.Store)
	if !ok {
		if _, err := s.client.Attach(s.ctx, "x"); !errors.Is(err, celery.ErrUnsupported) {
			s.t.Errorf("without a store: %v", err)
		}
		return
	}
	if payload, err := store.Fetch(s.ctx, celery.NewID()); payload != nil || err != nil {
		s.t.Errorf("nothing is there: %s %v", payload, err)
	}
	id, err := s.client.Send(s.ctx, celery.Task{Name: "lab.a"})
	if err != nil {
		s.t.Fatal(err)
	}
	m := s.take()
	s.report(m, Succeed(m, "7"))
	late, err := s.client.Attach(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	defer late.Close()
	s.wantNext(late, celery.Success, "7")
	again, err := s.client.Start(s.ctx, celery.Task{Name: "lab.a", ID: id})
	if err != nil {
		s.t.Fatal(err)
	}
	defer again.Close()
	s.wantNext(again, celery.Success, "7")
}
