package crashtest

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// point is a moment next to a call of the engine.
type point struct {
	Method string
	After  bool // when the call has had its effect, and its caller does not know
	Nth    int  // call of the method
}

// fuse is an engine that kills the process at a point.
type fuse struct {
	jobs.Engine
	at    point
	calls atomic.Int64
}

// pass kills the process if this is the moment, and does so after the call if the returned
// function is called.
func (f *fuse) pass(method string) (after func()) {
	if method != f.at.Method || f.calls.Add(1) != int64(f.at.Nth) {
		return func() {}
	}
	if !f.at.After {
		killMyself()
	}
	return killMyself
}

func (f *fuse) Accept(ctx context.Context, r *jobs.Record, body jobs.Body) (*jobs.Record, error) {
	defer f.pass("Accept")()
	return f.Engine.Accept(ctx, r, body)
}

func (f *fuse) Update(ctx context.Context, r *jobs.Record, inline []byte) error {
	defer f.pass("Update")()
	return f.Engine.Update(ctx, r, inline)
}

func (f *fuse) NewBody(ctx context.Context) (jobs.BodyWriter, error) {
	w, err := f.Engine.NewBody(ctx)
	return bodyFuse{w, f}, err
}

func (f *fuse) NewResult(ctx context.Context, id jobs.ID, generation, attempt int) (jobs.ResultFile, error) {
	defer f.pass("NewResult")()
	r, err := f.Engine.NewResult(ctx, id, generation, attempt)
	return resultFuse{r, f}, err
}

type bodyFuse struct {
	jobs.BodyWriter
	fuse *fuse
}

func (w bodyFuse) Write(p []byte) (int, error) {
	defer w.fuse.pass("BodyWriter.Write")()
	return w.BodyWriter.Write(p)
}

func (w bodyFuse) End() (jobs.Body, error) {
	defer w.fuse.pass("BodyWriter.End")()
	return w.BodyWriter.End()
}

type resultFuse struct {
	jobs.ResultFile
	fuse *fuse
}

func (r resultFuse) Write(p []byte) (int, error) {
	defer r.fuse.pass("ResultFile.Write")()
	return r.ResultFile.Write(p)
}

func (r resultFuse) Sync() error {
	defer r.fuse.pass("ResultFile.Sync")()
	return r.ResultFile.Sync()
}

// A process may end before and after each call of the engine that writes, here to an encrypted
// store.
func TestEndsAtEachWriteLoseNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	s.sealed = true
	methods := []string{"Accept", "Update", "NewResult", "BodyWriter.Write", "BodyWriter.End", "ResultFile.Write", "ResultFile.Sync"}
	for _, nth := range []int{1, 10} {
		for _, method := range methods {
			for _, after := range []bool{false, true} {
				s.again(10)
				for i := range 40 {
					s.keys = append(s.keys, (s.boots+1)*1000+i)
				}
				at := point{method, after, nth}
				if p := s.start(order{KillAt: at}); p.wait() || p.output.Len() > 0 {
					t.Fatalf("not killed at %+v: %s", at, p.output.String())
				}
			}
		}
	}
	s.drain()
	t.Logf("%+v", s.check())
}
