package jobs_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kit is a service over an engine in memory, in a bubble of synctest.
type kit struct {
	*jobs.Service
	t       *testing.T
	engine  *memory.Engine
	options jobs.Options
	faults  func(memory.Call) error
	closed  bool

	mu       sync.Mutex
	finished []*jobs.Record
	ended    []jobs.AttemptRecord
	rejected []string
}

// bubble runs a test with a service, whose clock passes while all goroutines wait.
func bubble(t *testing.T, options jobs.Options, f func(t *testing.T, k *kit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &kit{t: t, options: options}
		k.engine = memory.Open(memory.Options{Hook: k.fault})
		k.options.Observer = jobs.Observer{
			Finished: func(r *jobs.Record) { k.note(func() { k.finished = append(k.finished, r) }) },
			Ended:    func(_ *jobs.Record, a jobs.AttemptRecord) { k.note(func() { k.ended = append(k.ended, a) }) },
			Rejected: func(_, reason string) { k.note(func() { k.rejected = append(k.rejected, reason) }) },
		}
		k.open()
		defer k.close()
		f(t, k)
	})
}

func (k *kit) note(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// count returns how many jobs have ended, while others may end at the same time.
func (k *kit) count() (n int) {
	k.note(func() { n = len(k.finished) })
	return n
}

func (k *kit) fault(c memory.Call) error {
	k.mu.Lock()
	faults := k.faults
	k.mu.Unlock()
	if faults == nil {
		return nil
	}
	return faults(c)
}

// inject makes the engine fail as f says.
func (k *kit) inject(f func(memory.Call) error) { k.note(func() { k.faults = f }) }

func (k *kit) open() {
	k.t.Helper()
	s, err := jobs.Open(k.t.Context(), k.engine, k.options)
	if err != nil {
		k.t.Fatal(err)
	}
	k.Service, k.closed = s, false
}

func (k *kit) close() {
	if k.closed {
		return
	}
	k.closed = true
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = k.Close(over)
}

// crash ends the process, and begins another one.
func (k *kit) crash() {
	k.t.Helper()
	k.engine.Crash()
	k.close()
	k.engine = k.engine.Reopen(memory.Options{Hook: k.fault})
	k.open()
}

// powerCut ends the machine, and begins the next process.
func (k *kit) powerCut() {
	k.t.Helper()
	k.engine.Crash()
	k.reopen(memory.Options{PowerCut: true})
}

// kill ends the process while it waits for its attempts, and begins another one.
func (k *kit) kill() {
	k.t.Helper()
	over, cancel := context.WithCancel(context.Background())
	closed := make(chan error, 1)
	k.closed = true
	go func() { closed <- k.Close(over) }()
	synctest.Wait()
	k.engine.Crash()
	cancel()
	<-closed
	k.restart()
}

// restart ends the process, and begins another one.
func (k *kit) restart() {
	k.t.Helper()
	k.reopen(memory.Options{})
}

// reopen is a restart with an engine of other options.
func (k *kit) reopen(o memory.Options) {
	k.t.Helper()
	k.close()
	o.Hook = k.fault
	k.engine = k.engine.Reopen(o)
	k.open()
}

// policy is one without jitter that a test would notice.
func policy() jobs.Policy {
	return jobs.Policy{
		MaxAttempts: 3,
		MinBackoff:  time.Second,
		MaxBackoff:  time.Minute,
		Keep:        time.Hour,
		KeepDead:    2 * time.Hour,
	}
}

// submission is one for the route "r".
func submission(changes ...func(*jobs.Submission)) jobs.Submission {
	sub := jobs.Submission{Route: "r", Request: jobs.Request{Method: "POST", URI: "/"}, Policy: policy()}
	for _, change := range changes {
		change(&sub)
	}
	return sub
}

func repeatable(s *jobs.Submission) { s.Repeatable = true }

func tenant(name string) func(*jobs.Submission) {
	return func(s *jobs.Submission) { s.Tenant = name }
}

func hooked(s *jobs.Submission) { s.Hook = &jobs.Hook{URL: "https://example.org/hook"} }

// accept submits a job, a moment later than the one before.
func (k *kit) accept(changes ...func(*jobs.Submission)) jobs.ID {
	k.t.Helper()
	pass(time.Microsecond)
	a, err := k.Accept(k.t.Context(), submission(changes...))
	if err != nil {
		k.t.Fatal(err)
	}
	return a.View.ID
}

// get returns a job when all that happens now has happened.
func (k *kit) get(id jobs.ID) jobs.View {
	k.t.Helper()
	synctest.Wait()
	v, err := k.Get(k.t.Context(), id)
	if err != nil {
		k.t.Fatal(err)
	}
	return v
}

// want fails unless the job is in a state, for a reason.
func (k *kit) want(id jobs.ID, state jobs.State, reason string) jobs.View {
	k.t.Helper()
	v := k.get(id)
	if v.State != state || v.Reason != reason {
		k.t.Fatalf("state %s, reason '%s': want %s, '%s'", v.State, v.Reason, state, reason)
	}
	return v
}

// pass lets time pass, until all that happens then has happened.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// executor is a function that runs jobs.
type executor func(ctx context.Context, o *jobs.Offer) jobs.Verdict

func (f executor) Execute(ctx context.Context, o *jobs.Offer) jobs.Verdict { return f(ctx, o) }

// run is an executor that starts each job and calls f with the attempt.
func run(f func(a *jobs.Attempt) jobs.Verdict) executor {
	return func(_ context.Context, o *jobs.Offer) jobs.Verdict {
		a, err := o.Start()
		if err != nil {
			return jobs.Verdict{Reason: err.Error()}
		}
		return f(a)
	}
}

// answer completes jobs with a text.
func answer(text string) executor {
	return run(func(a *jobs.Attempt) jobs.Verdict {
		if err := a.Begin(200, nil); err != nil {
			return jobs.Verdict{Class: jobs.Broken, Reason: err.Error()}
		}
		if _, err := io.WriteString(a, text); err != nil {
			return jobs.Verdict{Class: jobs.Broken, Reason: err.Error()}
		}
		return jobs.Verdict{Class: jobs.Completed}
	})
}

// fail ends each attempt with a verdict.
func fail(v jobs.Verdict) executor {
	return run(func(*jobs.Attempt) jobs.Verdict { return v })
}

// hang runs each job until its context ends.
var hang = run(func(a *jobs.Attempt) jobs.Verdict {
	<-a.Context().Done()
	return jobs.Verdict{Class: jobs.Aborted}
})

// gated runs jobs that a test ends, in the order of their start.
type gated struct {
	mu      sync.Mutex
	order   []string // tenants of the jobs that began
	running map[jobs.ID]chan jobs.Verdict
}

func newGated() *gated { return &gated{running: map[jobs.ID]chan jobs.Verdict{}} }

func (g *gated) Execute(_ context.Context, o *jobs.Offer) jobs.Verdict {
	a, err := o.Start()
	if err != nil {
		return jobs.Verdict{}
	}
	end := make(chan jobs.Verdict, 1)
	g.mu.Lock()
	g.order = append(g.order, a.Record().Tenant)
	g.running[a.Record().ID] = end
	g.mu.Unlock()
	select {
	case v := <-end:
		if v.Class == jobs.Completed {
			_ = a.Begin(200, nil)
		}
		return v
	case <-a.Context().Done():
		return jobs.Verdict{Class: jobs.Aborted}
	}
}

// ids are the jobs that run.
func (g *gated) ids() []jobs.ID {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := make([]jobs.ID, 0, len(g.running))
	for id := range g.running {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b jobs.ID) int { return strings.Compare(a.String(), b.String()) })
	return ids
}

// end ends a job that runs.
func (g *gated) end(id jobs.ID, class jobs.Class) {
	g.mu.Lock()
	end := g.running[id]
	delete(g.running, id)
	g.mu.Unlock()
	end <- jobs.Verdict{Class: class}
	synctest.Wait()
}

// read reads a result to its end.
func read(ctx context.Context, r jobs.Reader) (string, error) {
	var text strings.Builder
	p := make([]byte, 1000)
	for {
		n, err := r.ReadAt(ctx, p, int64(text.Len()))
		text.Write(p[:n])
		if errors.Is(err, io.EOF) {
			return text.String(), nil
		}
		if err != nil {
			return text.String(), err
		}
	}
}
