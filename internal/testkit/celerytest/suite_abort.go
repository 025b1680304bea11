package celerytest

import (
	"errors"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// aborting tests Abort with a task that checks its own state.
func aborting(s *scene) {
	if _, ok := s.system.Backend().(celery.Aborter); !ok {
		if err := s.client.Abort(s.ctx, "x"); !errors.Is(err, celery.ErrUnsupported) {
			s.t.Errorf("by a backend that cannot: %v", err)
		}
		return
	}
	call := s.start(celery.Task{Name: "lab.a"})
	task := s.take()
	s.report(task, State(task.CorrelationID, celery.Started, "null"))
	s.wantNext(call, celery.Started, "null")
	s.abort(call.ID())
	s.wantNext(call, celery.Aborted, "null")
	s.wantStored(call.ID(), celery.Aborted)
	s.report(task, Succeed(task, `"half"`))
	s.wantNext(call, celery.Success, `"half"`)
	s.abort(call.ID()) // no effect: the task has ended
	s.wantStored(call.ID(), celery.Success)
	unknown := celery.NewID()
	s.abort(unknown) // such a task may be in a queue
	s.wantStored(unknown, celery.Aborted)
	if err := s.client.Abort(s.ctx, ""); !errors.Is(err, celery.ErrInvalidTask) {
		s.t.Errorf("without an ID: %v", err)
	}
}

func (s *scene) abort(id string) {
	s.t.Helper()
	if err := s.client.Abort(s.ctx, id); err != nil {
		s.t.Errorf("aborting: %v", err)
	}
}

// wantStored checks the stored state.
func (s *scene) wantStored(id string, state celery.State) {
	s.t.Helper()
	payload, err := s.system.Backend().(celery.Store).Fetch(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	if result, err := celery.DecodeResult(payload); err != nil || result.State != state || result.TaskID != id {
		s.t.Errorf("stored is %s, want the state %s", payload, state)
	}
}
