package jobs_test

import (
	"context"
	"errors"
	"slices"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// recorder notes all writes to an engine.
type recorder struct {
	jobs.Engine
	w *world
}

func (e *recorder) Accept(ctx context.Context, r *jobs.Record, body jobs.Body) (*jobs.Record, error) {
	e.w.mu.Lock()
	e.w.jobs[r.ID] = &seen{
		chain: map[uint64]*jobs.Record{},
		began: map[[2]int]bool{}, wrote: map[[2]int]int{}, messages: map[int]int{},
	}
	e.w.mu.Unlock()
	version := *r
	earlier, err := e.Engine.Accept(ctx, r, body)
	if earlier == nil {
		e.w.wrote(&version, 1, err)
	}
	return earlier, err
}

func (e *recorder) Update(ctx context.Context, r *jobs.Record, inline []byte) error {
	version := *r
	version.Attempts = slices.Clone(r.Attempts)
	err := e.Engine.Update(ctx, r, inline)
	e.w.wrote(&version, version.Rev+1, err)
	return err
}

// wrote notes a version of a record that was written, or may have been.
func (w *world) wrote(r *jobs.Record, rev uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[r.ID]
	switch {
	case err == nil:
		j.chain[rev] = r
	case w.burnt || !w.resolve(version{r, rev}):
		w.doubt = append(w.doubt, version{r, rev})
	}
}

// version is a version of a record that may have been written.
type version struct {
	record *jobs.Record
	rev    uint64
}

// resolve notes whether a version was written, by the version that is stored now. It returns
// false if the engine has crashed. The caller holds the lock.
func (w *world) resolve(v version) bool {
	engine := w.engine
	w.honest++
	w.mu.Unlock()
	r, err := engine.Get(context.Background(), v.record.ID)
	w.mu.Lock()
	w.honest--
	if err != nil {
		return errors.Is(err, jobs.ErrUnknown)
	}
	chain := w.jobs[r.ID].chain
	chain[r.Rev] = r
	if v.rev < r.Rev && chain[v.rev] == nil {
		chain[v.rev] = v.record
	}
	return true
}

// execute runs the jobs of all routes.
func (w *world) execute(_ context.Context, o *jobs.Offer) jobs.Verdict {
	w.mu.Lock()
	away := !w.calm && w.random.IntN(8) == 0
	w.mu.Unlock()
	if away {
		return jobs.Verdict{Class: jobs.NotSent, RetryAfter: time.Duration(w.n(3)) * time.Second}
	}
	a, err := o.Start()
	if err != nil {
		return jobs.Verdict{Reason: err.Error()}
	}
	r := a.Record()
	w.dispatched(a)
	w.count(r, +1)
	defer w.count(r, -1)
	return w.result(a)
}

// count checks that no more jobs run than may.
func (w *world) count(r *jobs.Record, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[r.Route] += n
	w.running[r.Tenant] += n
	if w.running[r.Route] > modelConcurrency || w.running[r.Tenant] > modelTenant {
		w.t.Errorf("%v run", w.running)
	}
}

// dispatched checks that an attempt is dispatched once, and not after a cancellation.
func (w *world) dispatched(a *jobs.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := a.Record()
	j, name := w.jobs[r.ID], [2]int{r.Generation, r.Attempt}
	if j.began[name] {
		w.t.Errorf("attempt %v is dispatched again", name)
	}
	j.began[name] = true
	if r.Cancel != nil {
		w.t.Errorf("attempt %v is dispatched after a cancellation", name)
	}
	if r.Attempt-r.Uncounted > r.Policy.MaxAttempts {
		w.t.Errorf("attempt %d, %d do not count, of %d", r.Attempt, r.Uncounted, r.Policy.MaxAttempts)
	}
}

// result produces the result of an attempt for a while, and decides how it ends.
func (w *world) result(a *jobs.Attempt) jobs.Verdict {
	r := a.Record()
	broken := jobs.Verdict{Class: jobs.Broken, Reason: "broken"}
	if w.n(4) > 0 {
		if a.Begin(200, nil) != nil {
			return broken
		}
		size, at := w.n(50_000), 0
		all := text(r.ID, r.Generation, r.Attempt, size)
		for at < size {
			end := min(size, at+1+w.n(20_000))
			n, err := a.Write([]byte(all[at:end]))
			w.mu.Lock()
			w.jobs[r.ID].wrote[[2]int{r.Generation, r.Attempt}] += n
			w.mu.Unlock()
			if err != nil {
				return broken
			}
			at = end
			select {
			case <-time.After(time.Duration(w.n(4000)) * time.Millisecond):
			case <-a.Context().Done():
				return jobs.Verdict{Class: jobs.Aborted}
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	classes := []jobs.Class{jobs.Completed, jobs.Completed, jobs.Completed}
	if !w.calm {
		classes = append(classes, jobs.Declined, jobs.Busy, jobs.NotSent, jobs.Broken, jobs.Broken)
	}
	return jobs.Verdict{Class: classes[w.random.IntN(len(classes))], Reason: "why"}
}

// look checks what must hold at any time: every accepted job is there, and the disk is not
// more than full.
func (w *world) look() {
	synctest.Wait()
	w.mu.Lock()
	faulty, order := w.faulty || w.burnt || w.fuse >= 0, slices.Clone(w.order)
	w.mu.Unlock()
	if faulty {
		return
	}
	for _, id := range order {
		w.mu.Lock()
		gone := w.jobs[id].forgotten
		w.mu.Unlock()
		if _, err := w.Get(context.Background(), id); err != nil && !gone {
			w.t.Errorf("an accepted job is gone: %v", err)
		}
	}
	u, err := w.Usage(context.Background())
	const atMost = modelDisk + modelBody + modelQueues*jobs.InlineBytes // small results are always kept
	if err != nil || u.BodyBytes+u.ResultSize > atMost {
		w.t.Errorf("%+v: %v", u, err)
	}
}

// check checks a history at its end, when nothing has failed for a while.
func (w *world) check() {
	w.look()
	w.mu.Lock()
	order := slices.Clone(w.order)
	w.mu.Unlock()
	for _, id := range order {
		v, err := w.Get(context.Background(), id)
		w.mu.Lock()
		j := w.jobs[id]
		w.mu.Unlock()
		if err != nil {
			continue // it was forgotten
		}
		if !v.State.Terminal() {
			w.t.Errorf("a job is %s at the end, it waits for '%s': %+v", v.State, v.WaitingFor, v.Record)
			continue
		}
		w.checkResult(&v, j)
		w.checkChain(&v, j)
	}
	for name, rt := range w.Stats().Routes {
		if rt.Queued+rt.RetryWait+rt.Running != 0 || rt.QueuedBytes != 0 {
			w.t.Errorf("route %s has jobs at the end: %+v", name, rt)
		}
	}
}

// checkResult checks that a complete response has the bytes of its attempt.
func (w *world) checkResult(v *jobs.View, j *seen) {
	if v.State == jobs.Succeeded && (v.Response == nil || !v.Response.Complete) {
		w.t.Error("a job has succeeded without a response")
	}
	if v.Response == nil {
		return
	}
	reader, err := w.Result(context.Background(), v.ID)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer reader.Close()
	got, err := read(context.Background(), reader)
	if size := j.wrote[[2]int{v.Generation, v.Attempt}]; err != nil || got != text(v.ID, v.Generation, v.Attempt, size) {
		w.t.Errorf("attempt %d.%d wrote %d bytes, %d are kept: %v", v.Generation, v.Attempt, size, len(got), err)
	}
}

// checkChain checks all stored versions of a job: a terminal state is final in its generation
// and follows its last attempt, attempts rise by one, none begins after a cancellation, and
// each end has a message.
func (w *world) checkChain(v *jobs.View, j *seen) {
	var last *jobs.Record
	for rev := uint64(1); rev <= v.Rev; rev++ {
		r := j.chain[rev]
		if r == nil {
			w.t.Errorf("version %d of %d is not known", rev, v.Rev)
			return
		}
		if last != nil {
			w.checkStep(last, r)
		}
		if r.State.Terminal() && r.Hook != nil && j.messages[r.Generation] == 0 {
			w.t.Errorf("generation %d has no message: %+v", r.Generation, r.Hook)
		}
		if at := r.Policy.TotalTime; at > 0 && r.State.Terminal() && r.Generation == 1 && !j.promoted && r.Ended.Sub(r.Created) > at+3*time.Minute {
			w.t.Errorf("it has ended %v after its time", r.Ended.Sub(r.Created)-at)
		}
		last = r
	}
}

func (w *world) checkStep(a, b *jobs.Record) {
	switch {
	case a.State.Terminal() && b.Generation == a.Generation && b.State != a.State,
		a.State.Terminal() && b.Generation == a.Generation && b.Attempt != a.Attempt,
		b.Generation != a.Generation && (b.Generation != a.Generation+1 || !a.State.Terminal() || b.State != jobs.Queued),
		b.Generation == a.Generation && b.Attempt != a.Attempt && (b.Attempt != a.Attempt+1 || b.State != jobs.Running),
		b.Generation == a.Generation && b.Attempt > a.Attempt && (a.Cancel != nil || a.State == jobs.Running),
		b.Generation == a.Generation && a.Cancel != nil && b.Cancel == nil:
		w.t.Errorf("%s %d.%d is followed by %s %d.%d", a.State, a.Generation, a.Attempt, b.State, b.Generation, b.Attempt)
	}
}
