//go:build integration

package integration

import (
	"errors"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// A task that checks for an abort finds it. An abort after its end has no effect.
func TestAbort(t *testing.T) {
	t.Parallel()
	for _, version := range lab.EndVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, combination{"redis", "redis"}, lab.WorkerOptions{Version: version}, celery.Settings{})
			path, read := b.trace()
			call, err := b.client.Start(b.ctx, celery.Task{Name: "lab.abortable", Args: []any{path}})
			if err != nil {
				t.Fatal(err)
			}
			defer call.Close()
			eventually(t, "the task to run", func() bool { return read() == "x" })
			if err := b.client.Abort(b.ctx, call.ID()); err != nil {
				t.Fatal(err)
			}
			var states []celery.State
			result, err := call.Wait(b.ctx, func(r celery.Result) { states = append(states, r.State) })
			if err != nil || string(result.Value) != `"aborted"` || len(states) > 1 || len(states) == 1 && states[0] != celery.Aborted {
				t.Errorf("%s %v after %v", result.Value, err, states)
			}
			if err := b.client.Abort(b.ctx, call.ID()); err != nil { // it has ended
				t.Error(err)
			}
			again, err := b.client.Attach(b.ctx, call.ID())
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if result, err := again.Wait(b.ctx, nil); err != nil || result.State != celery.Success {
				t.Errorf("%+v %v", result, err)
			}
		})
	}
}

// Replies keep no state that a task could look at.
func TestAbortNeedsAStore(t *testing.T) {
	t.Parallel()
	c := combination{"amqp", "rpc"}
	p := newPlace(t, c)
	client := celery.NewClient(p.openBroker(c), p.openBackend(c), celery.Settings{})
	if err := client.Abort(p.ctx, "a"); !errors.Is(err, celery.ErrUnsupported) {
		t.Error(err)
	}
}
