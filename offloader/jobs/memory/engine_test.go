package memory_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func queued() *jobs.Record {
	now := time.Now()
	return &jobs.Record{ID: jobs.NewID(now), Route: "report", Created: now, State: jobs.Queued, Generation: 1}
}

// at returns a hook that returns the error at one call.
func at(c memory.Call, err error) memory.Hook {
	return func(got memory.Call) error {
		if got.Method == c.Method && got.After == c.After {
			return err
		}
		return nil
	}
}

func TestACrashKeepsWhatWasCommitted(t *testing.T) {
	ctx := context.Background()
	for _, after := range []bool{false, true} {
		e := memory.Open(memory.Options{Hook: at(memory.Call{Method: "Accept", After: after}, memory.ErrCrash)})
		r := queued()
		if _, err := e.Accept(ctx, r, jobs.Body{}); !errors.Is(err, memory.ErrCrash) {
			t.Fatalf("after %t: Accept of an engine that crashes: %v", after, err)
		}
		if _, err := e.Get(ctx, r.ID); !errors.Is(err, memory.ErrCrash) {
			t.Errorf("after %t: Get of a crashed engine: %v", after, err)
		}
		next := e.Reopen(memory.Options{})
		if next.LastEnd() != jobs.Crashed {
			t.Errorf("after %t: the next engine has not crashed", after)
		}
		if _, err := next.Get(ctx, r.ID); errors.Is(err, jobs.ErrUnknown) == after {
			t.Errorf("after %t: Get of the next engine: %v", after, err)
		}
	}
}

func TestAFailedCallDoesNotCrash(t *testing.T) {
	ctx := context.Background()
	for _, after := range []bool{false, true} {
		e := memory.Open(memory.Options{Hook: at(memory.Call{Method: "Accept", After: after}, jobs.ErrFull)})
		r := queued()
		if _, err := e.Accept(ctx, r, jobs.Body{}); !errors.Is(err, jobs.ErrFull) {
			t.Fatalf("after %t: Accept that fails: %v", after, err)
		}
		if _, err := e.Get(ctx, r.ID); errors.Is(err, jobs.ErrUnknown) == after {
			t.Errorf("after %t: Get: %v", after, err)
		}
	}
}

func TestBytesThatWereNotSyncedCanBeCut(t *testing.T) {
	ctx := context.Background()
	e := memory.Open(memory.Options{Cut: func(unsynced int) int { return unsynced / 2 }})
	r := queued()
	if _, err := e.Accept(ctx, r, jobs.Body{}); err != nil {
		t.Fatal(err)
	}
	r.Attempt = 1
	r.Response = &jobs.Response{Size: 8, Complete: true}
	if err := e.Update(ctx, r, nil); err != nil {
		t.Fatal(err)
	}
	f, err := e.NewResult(ctx, r.ID, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("1234"))
	f.Sync()
	f.Write([]byte("5678"))
	next := e.Reopen(memory.Options{})
	if _, err := next.Result(ctx, r); !errors.Is(err, jobs.ErrBroken) {
		t.Errorf("a result that was cut: %v", err)
	}
	r.Response.Size = 6
	result, err := next.Result(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 6)
	if _, err := result.ReadAt(p, 0); err != nil || string(p) != "123456" {
		t.Errorf("the bytes that were kept: %q, %v", p, err)
	}
}

func TestAStoreWithALimitIsFull(t *testing.T) {
	ctx := context.Background()
	e := memory.Open(memory.Options{Limit: 10})
	if _, err := e.Accept(ctx, queued(), jobs.Body{Inline: make([]byte, 10), Size: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Accept(ctx, queued(), jobs.Body{Inline: make([]byte, 1), Size: 1}); !errors.Is(err, jobs.ErrFull) {
		t.Errorf("a body above the limit: %v", err)
	}
	if u, err := e.Usage(ctx); err != nil || u.Jobs != 1 || u.Limit != 10 {
		t.Errorf("usage %+v, %v", u, err)
	}
}
