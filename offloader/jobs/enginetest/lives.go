package enginetest

import (
	"errors"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var lives = []test{
	{"a store that is opened again has all jobs", reopenKeepsEverything},
	{"a store knows whether it was closed", crashedOrClosed},
	{"a crash leaves all that was committed", crashKeepsEverything},
	{"a crash leaves no file that belongs to no job", crashLeavesNoFiles},
	{"a closed engine rejects calls", closedEngine},
	{"close waits for calls that run", closeWaits},
}

// fill stores jobs of several kinds.
func (k *kit) fill() []*jobs.Record {
	k.Helper()
	long := pattern(1, 2*jobs.InlineBytes)
	all := []*jobs.Record{k.accept(record(), nil), k.accept(record(), long), k.accept(keyed(1, time.Hour), []byte("x"))}
	for _, result := range [][]byte{nil, []byte("result"), long} {
		r := k.accept(record(), long)
		k.succeed(r, result)
		all = append(all, r)
	}
	return all
}

// filled fails the test if the jobs of fill are not all there.
func (k *kit) filled(all []*jobs.Record) {
	k.Helper()
	long := pattern(1, 2*jobs.InlineBytes)
	for i, body := range [][]byte{nil, long, []byte("x"), long, long, long} {
		k.same(k.get(all[i].ID), all[i])
		k.hasBody(all[i], body)
	}
	for i, result := range [][]byte{nil, []byte("result"), long} {
		k.hasResult(all[3+i], result)
	}
}

func reopenKeepsEverything(k *kit) {
	all := k.fill()
	for range 3 {
		k.reopen()
		k.filled(all)
	}
	r := all[0]
	k.update(r, nil)
	k.reopen()
	k.filled(all)
}

func crashKeepsEverything(k *kit) {
	all := k.fill()
	for range 3 {
		k.crash()
		k.filled(all)
	}
	k.update(all[0], nil)
	k.reopen()
	k.filled(all)
}

func crashedOrClosed(k *kit) {
	kill := func() {
		k.must(k.engine.Stopping(k.Context()))
		k.accept(record(), nil)
		k.crash()
	}
	for i, c := range []struct {
		again func()
		want  jobs.End
	}{
		{func() {}, jobs.Closed},
		{k.reopen, jobs.Closed},
		{k.crash, jobs.Crashed},
		{k.crash, jobs.Crashed},
		{kill, jobs.Killed},
		{k.reopen, jobs.Closed},
		{kill, jobs.Killed},
		{k.crash, jobs.Crashed},
	} {
		c.again()
		if got := k.engine.LastEnd(); got != c.want {
			k.Errorf("LastEnd is %d in life %d, want %d", got, i+1, c.want)
		}
	}
}

func crashLeavesNoFiles(k *kit) {
	k.accept(record(), pattern(1, 2*jobs.InlineBytes))
	files := k.files()
	k.body(pattern(2, 2*jobs.InlineBytes)) // not accepted
	w, err := k.engine.NewBody(k.Context())
	k.must(err)
	_, err = w.Write(pattern(3, 2*jobs.InlineBytes))
	k.must(err)
	k.crash()
	k.hasFiles(files, "after a crash")
}

func closedEngine(k *kit) {
	all := k.fill()
	e, ctx, r := k.engine, k.Context(), all[5]
	k.close()
	for name, call := range map[string]func() error{
		"Accept":      func() error { _, err := e.Accept(ctx, record(), jobs.Body{}); return err },
		"Update":      func() error { return e.Update(ctx, r, nil) },
		"Remove":      func() error { return e.Remove(ctx, r.ID, r.Rev) },
		"Get":         func() error { _, err := e.Get(ctx, r.ID); return err },
		"Open":        func() error { return firstError(e, k) },
		"Due":         func() error { _, err := e.Due(ctx, time.Now(), 1); return err },
		"List":        func() error { _, err := e.List(ctx, jobs.Query{Limit: 1}); return err },
		"NewBody":     func() error { _, err := e.NewBody(ctx); return err },
		"Body":        func() error { _, err := e.Body(ctx, r); return err },
		"NewResult":   func() error { _, err := e.NewResult(ctx, r.ID, 1, 2); return err },
		"Result":      func() error { _, err := e.Result(ctx, r); return err },
		"Usage":       func() error { _, err := e.Usage(ctx); return err },
		"TenantUsage": func() error { _, err := e.TenantUsage(ctx, "acme"); return err },
		"Known":       func() error { _, err := e.Known(ctx, [32]byte{1}); return err },
		"Stopping":    func() error { return e.Stopping(ctx) },
		"Close":       e.Close,
	} {
		k.is(call(), jobs.ErrEngineClosed, name+" of a closed engine")
	}
	if end := e.LastEnd(); end != jobs.Closed {
		k.Errorf("LastEnd of a closed engine is %d", end)
	}
	k.reopen()
	k.filled(all)
}

// firstError returns the error that Open yields.
func firstError(e jobs.Engine, k *kit) error {
	for _, err := range e.Open(k.Context()) {
		return err
	}
	return nil
}

func closeWaits(k *kit) {
	const callers = 8
	accepted := make([][]*jobs.Record, callers)
	var group, begun sync.WaitGroup
	begun.Add(callers)
	for i := range callers {
		group.Go(func() {
			for n := 0; ; n++ {
				r := record()
				_, err := k.engine.Accept(k.Context(), r, jobs.Body{})
				if n == 0 {
					begun.Done()
				}
				if err != nil {
					if !errors.Is(err, jobs.ErrEngineClosed) {
						k.Errorf("Accept while the engine closes: %v", err)
					}
					return
				}
				accepted[i] = append(accepted[i], r)
			}
		})
	}
	begun.Wait()
	k.close()
	group.Wait()
	k.reopen()
	n := 0
	for _, all := range accepted {
		n += len(all)
		for _, r := range all {
			k.same(k.get(r.ID), r)
		}
	}
	if u, err := k.engine.Usage(k.Context()); err != nil || u.Jobs != int64(n) {
		k.Errorf("%d jobs are stored of %d that were accepted, error %v", u.Jobs, n, err)
	}
}
