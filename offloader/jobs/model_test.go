package jobs_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

var (
	modelSeeds = flag.Int("model.seeds", 150, "how many random histories of jobs are played")
	modelFirst = flag.Uint64("model.first", 0, "the first history, to play one again; 0: any")
)

// TestModel plays random histories of submissions, attempts, cancellations, retries and crashes,
// with faults of the engine, and checks what must hold in all of them: see check.
func TestModel(t *testing.T) {
	first := cmp.Or(*modelFirst, rand.Uint64())
	for i := range *modelSeeds {
		seed := first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newWorld(t, seed).play() })
		})
		if t.Failed() {
			return
		}
	}
}

// world is a service with its clients, executors and endpoints, and all that they have seen.
type world struct {
	*jobs.Service
	t      *testing.T
	engine *memory.Engine

	mu       sync.Mutex // of all below
	random   *rand.Rand
	faulty   bool      // the engine fails from time to time
	fuse     int       // calls until a crash; negative: none
	burnt    bool      // the engine has crashed
	honest   int       // calls that must not fail
	doubt    []version // that may be stored, since the engine has crashed
	calm     bool      // the end of the history
	jobs     map[jobs.ID]*seen
	order    []jobs.ID
	keys     map[byte]jobs.ID
	running  map[string]int // by route and by tenant
	promoted []*jobs.Attempt
	unbind   map[string]func()
	wait     sync.WaitGroup
}

// seen is all that the world has seen of a job.
type seen struct {
	accepted  bool // its client got an answer
	forgotten bool
	promoted  bool                    // its first attempt ends when its client ends it
	chain     map[uint64]*jobs.Record // by version
	began     map[[2]int]bool         // dispatches, by generation and attempt
	wrote     map[[2]int]int          // bytes that attempts have written
	messages  map[int]int             // by generation
}

const (
	modelConcurrency = 3
	modelTenant      = 4
	modelDisk        = 1 << 20
	modelBody        = 40_000
	modelQueue       = 50
	modelQueues      = 2 * (modelQueue + modelConcurrency)
)

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), fuse: -1,
		jobs: map[jobs.ID]*seen{}, keys: map[byte]jobs.ID{},
		running: map[string]int{}, unbind: map[string]func(){},
	}
	w.engine = memory.Open(w.engineOptions())
	w.open()
	return w
}

func (w *world) engineOptions() memory.Options {
	return memory.Options{Hook: w.fault, Limit: modelDisk, Cut: w.n}
}

// n returns a random number up to most.
func (w *world) n(most int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(most + 1)
}

// one reports true once in n times.
func (w *world) one(n int) bool { return w.n(n-1) == 0 }

// fault decides about a call of the engine.
func (w *world) fault(memory.Call) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.honest > 0 {
		return nil
	}
	if w.fuse >= 0 {
		if w.fuse--; w.fuse < 0 {
			w.burnt = true
			return memory.ErrCrash
		}
	}
	if w.faulty && w.random.IntN(20) == 0 {
		if w.random.IntN(2) == 0 {
			return jobs.ErrFull
		}
		return jobs.ErrBroken
	}
	return nil
}

// open opens the service, which may crash again and again.
func (w *world) open() {
	for {
		s, err := jobs.Open(context.Background(), &recorder{w.engine, w}, jobs.Options{
			Limits:  jobs.Limits{Queue: modelQueue, TenantQueue: 20, TenantRunning: modelTenant},
			Deliver: w.deliver,
		})
		if err == nil {
			w.Service = s
			break
		}
		if !errors.Is(err, memory.ErrCrash) && !errors.Is(err, jobs.ErrFull) && !errors.Is(err, jobs.ErrBroken) {
			w.t.Fatal(err)
		}
		w.reopen()
	}
	for _, route := range []string{"a", "b"} {
		w.bind(route)
	}
}

func (w *world) bind(route string) {
	if w.unbind[route] == nil {
		w.unbind[route] = w.Bind(route, executor(w.execute), jobs.RouteLimits{Concurrency: modelConcurrency})
	}
}

// stop ends the process: by Close if the engine has not crashed.
func (w *world) stop() {
	for _, a := range w.promoted {
		go a.Finish(jobs.Verdict{Class: jobs.Aborted})
	}
	w.promoted = nil
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.n(2))*time.Second)
	defer cancel()
	_ = w.Close(ctx)
	w.wait.Wait()
	clear(w.unbind)
	w.reopen()
}

func (w *world) reopen() {
	w.engine = w.engine.Reopen(w.engineOptions())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fuse, w.burnt = -1, false
	for _, v := range w.doubt {
		w.resolve(v)
	}
	w.doubt = nil
	if !w.calm && w.random.IntN(3) == 0 {
		w.fuse = w.random.IntN(12) // another crash during recovery
	}
}

// play plays a history.
func (w *world) play() {
	actions := []func(){
		w.submit, w.submit, w.submit, w.submit, w.promote, w.finish, w.cancel, w.retry,
		w.forget, w.read, w.read, w.pass, w.pass, w.pass, w.pass, w.toggle, w.again,
	}
	w.faulty = w.one(3)
	for range 60 + w.n(100) {
		if w.one(25) {
			w.mu.Lock()
			w.fuse = w.random.IntN(30)
			w.mu.Unlock()
		}
		actions[w.n(len(actions)-1)]()
		synctest.Wait()
		w.mu.Lock()
		burnt := w.burnt
		w.mu.Unlock()
		if burnt || w.one(60) {
			w.stop()
			w.open()
		}
		w.look()
	}
	w.mu.Lock()
	w.fuse, w.faulty, w.calm = -1, false, true
	w.mu.Unlock()
	w.stop()
	w.open()
	pass(20 * time.Minute)
	w.check()
	_ = w.Close(context.Background())
}

// pass lets time pass.
func (w *world) pass() { pass(time.Duration(w.n(20_000)) * time.Millisecond) }

// toggle binds a route or takes its executor away.
func (w *world) toggle() {
	if unbind := w.unbind["b"]; unbind != nil {
		unbind()
		delete(w.unbind, "b")
	} else {
		w.bind("b")
	}
}

func (w *world) submission() jobs.Submission {
	s := jobs.Submission{
		Route:      string(rune('a' + w.n(1))),
		Tenant:     string(rune('x' + w.n(2))),
		Repeatable: w.one(2),
		Policy: jobs.Policy{
			MaxAttempts: 1 + w.n(3), MinBackoff: time.Second, MaxBackoff: 10 * time.Second,
			Keep: time.Hour, KeepDead: time.Hour,
		},
	}
	if w.one(3) {
		s.Policy.TotalTime = time.Duration(1+w.n(60)) * time.Second
	}
	if w.one(3) {
		s.Policy.QueueTime = time.Duration(1+w.n(30)) * time.Second
	}
	if w.one(3) {
		s.Policy.AttemptTimeout = time.Duration(1+w.n(15)) * time.Second
	}
	if w.one(3) {
		s.Policy.MaxResult = int64(w.n(60_000)) + 1
	}
	if w.one(3) {
		s.Hook = &jobs.Hook{URL: fmt.Sprintf("https://%d.example/", w.n(3)), WithResult: w.one(2)}
	}
	if w.one(3) {
		s.Key = w.key(byte(w.n(20)))
	}
	return s
}

func (w *world) key(name byte) *jobs.Key {
	return &jobs.Key{Hash: [32]byte{name}, Fingerprint: [32]byte{name}, Until: time.Now().Add(24 * time.Hour)}
}

// write adds a body to a submission.
func (w *world) write(s *jobs.Submission) bool {
	b, err := w.NewBody(context.Background())
	if err != nil {
		return false
	}
	if _, err = b.Write(make([]byte, w.n(modelBody))); err == nil {
		s.Body, err = b.End()
	}
	if err != nil {
		b.Discard()
	}
	return err == nil
}

func (w *world) submit() {
	s := w.submission()
	if !w.write(&s) {
		return
	}
	if acc, err := w.Accept(context.Background(), s); err == nil {
		w.accepted(acc, s)
	}
}

// again submits a known key.
func (w *world) again() {
	for name := range w.keys {
		s := w.submission()
		s.Key = w.key(name)
		if acc, err := w.Accept(context.Background(), s); err == nil {
			w.accepted(acc, s)
		}
		return
	}
}

func (w *world) promote() {
	s := w.submission()
	s.Repeatable = true
	acc, err := w.Promote(context.Background(), s, time.Now())
	if err != nil {
		return
	}
	w.accepted(acc, s)
	if a := acc.Attempt; a != nil {
		w.dispatched(a)
		w.jobs[acc.View.ID].promoted = true
		w.promoted = append(w.promoted, a)
	}
}

// finish ends a promoted attempt.
func (w *world) finish() {
	if len(w.promoted) == 0 {
		return
	}
	a := w.promoted[0]
	w.promoted = w.promoted[1:]
	w.wait.Go(func() { a.Finish(w.result(a)) })
}

// accepted takes an answer to a submission.
func (w *world) accepted(acc jobs.Accepted, s jobs.Submission) {
	id := acc.View.ID
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.jobs[id]; !j.accepted {
		j.accepted = true
		w.order = append(w.order, id)
	}
	if s.Key == nil {
		return
	}
	name := s.Key.Hash[0]
	if earlier, ok := w.keys[name]; ok && earlier != id && !w.jobs[earlier].forgotten {
		w.t.Errorf("key %d belongs to two jobs", name)
	}
	w.keys[name] = id
}

// some returns a job that was accepted.
func (w *world) some() (id jobs.ID, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return id, false
	}
	id = w.order[w.random.IntN(len(w.order))]
	return id, !w.jobs[id].forgotten
}

func (w *world) cancel() {
	if id, ok := w.some(); ok {
		_, _ = w.Cancel(context.Background(), id, "owner")
	}
}

func (w *world) retry() {
	if id, ok := w.some(); ok {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = w.Retry(ctx, id)
	}
}

func (w *world) forget() {
	id, ok := w.some()
	if !ok || !w.one(3) {
		return
	}
	if v, err := w.Get(context.Background(), id); err != nil || !v.State.Terminal() {
		return
	}
	w.mu.Lock()
	w.jobs[id].forgotten = true // also if it fails after its effect
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = w.Forget(ctx, id)
}

// text is what an attempt writes.
func text(id jobs.ID, generation, attempt, size int) string {
	line := fmt.Sprintf("%s %d %d\n", id, generation, attempt)
	return strings.Repeat(line, size/len(line)+1)[:size]
}

// read reads a result, and checks that it is of one attempt.
func (w *world) read() {
	id, ok := w.some()
	if !ok {
		return
	}
	reader, err := w.Result(context.Background(), id)
	if err != nil {
		return
	}
	d := time.Duration(w.n(5000)) * time.Millisecond
	w.wait.Go(func() {
		defer reader.Close()
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		generation, attempt := reader.Attempt()
		got, err := read(ctx, reader)
		if got != text(id, generation, attempt, len(got)) {
			w.t.Errorf("%d bytes are not those of attempt %d.%d", len(got), generation, attempt)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if want := w.jobs[id].wrote[[2]int{generation, attempt}]; err == nil && len(got) != want {
			w.t.Errorf("a whole result of %d bytes, %d were written", len(got), want)
		}
	})
}

// deliver is the endpoint of webhooks.
func (w *world) deliver(_ context.Context, m jobs.Message) jobs.Delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[m.Record.ID]
	if m.ID != fmt.Sprintf("%s.%d", m.Record.ID, m.Record.Generation) || !m.Record.State.Terminal() {
		w.t.Errorf("message %s about %s", m.ID, m.Record.State)
	}
	j.messages[m.Record.Generation]++
	switch w.random.IntN(4) {
	case 0:
		return jobs.Delivery{Error: "status_500"}
	case 1:
		return jobs.Delivery{Gone: true, Error: "status_410"}
	}
	return jobs.Delivery{Delivered: true}
}
