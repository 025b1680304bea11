package celery

import (
	"context"
	"maps"
	"time"
)

// A worker whose loop its own tasks block, as those of the pools solo and gevent may,
// sends no heartbeat and answers no question, and takes the next task when it is free.
// So silence alone does not mean that it has gone. One that was heard lately and still
// listens to commands is silent: what is known of it holds.

// longestSilence is how long a worker is remembered, however long a caller waits.
const longestSilence = 24 * time.Hour

// note that a worker is there.
func (w *Workers) note(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = time.Now()
}

// trust has workers that fall silent now count until the caller's task is not wanted
// any more: they may be at work on it.
func (w *Workers) trust(ctx context.Context) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trusted.Before(deadline) {
		w.trusted = deadline
	}
}

// suspects are the workers that were heard in as long a time as the caller will wait,
// and have not answered now.
func (w *Workers) suspects(ctx context.Context, answered func(name string) bool) []string {
	now := time.Now()
	since := now.Add(-longestSilence)
	if deadline, ok := ctx.Deadline(); ok {
		since = now.Add(-time.Until(deadline))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetSilent(now)
	var names []string
	for name, at := range w.seen {
		if !answered(name) && (at.After(since) || now.Before(w.trusted)) {
			names = append(names, name)
		}
	}
	return names
}

// silent names the workers that may be there although they have not answered. A broker
// that counts listeners can tell that there is none.
func silent[T any](ctx context.Context, w *Workers, answers map[string]T) []string {
	names := w.suspects(ctx, func(name string) bool {
		_, ok := answers[name]
		return ok
	})
	if len(names) == 0 {
		return nil
	}
	n, err := w.listeners.get(ctx, func(int) bool { return true })
	if err == nil && n >= 0 && n <= len(answers) {
		return nil
	}
	return names
}

// countListeners asks the broker how many workers listen to commands. The command is
// one that changes nothing and wants no answer.
func (w *Workers) countListeners(ctx context.Context, told func(int)) error {
	controller, ok := w.broker.(Controller)
	if !ok {
		return ErrUnsupported
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTimeout, errSlowBroker)
	defer cancel()
	n, err := controller.Broadcast(ctx, aboutLife.command)
	if err == nil {
		told(n)
	}
	return err
}

// remember keeps what workers have answered, for when they are silent.
func (s *survey[T]) remember(w *Workers, answers map[string]T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range s.past {
		if _, ok := w.seen[name]; !ok {
			delete(s.past, name)
		}
	}
	maps.Copy(s.past, answers)
}

// ofSilent returns what silent workers have answered before. sure is false if one of
// them has never answered.
func (s *survey[T]) ofSilent(ctx context.Context, w *Workers, answers map[string]T) (past map[string]T, sure bool) {
	names := silent(ctx, w, answers)
	w.mu.Lock()
	defer w.mu.Unlock()
	past, sure = make(map[string]T, len(names)), true
	for _, name := range names {
		answer, ok := s.past[name]
		if !ok {
			sure = false
			continue
		}
		past[name] = answer
	}
	return past, sure
}
