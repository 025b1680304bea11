package joblog_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/joblog"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func record(state jobs.State) *jobs.Record {
	return &jobs.Record{
		ID: jobs.NewID(time.Now()), Route: "reports", State: state, Attempt: 2, Reason: "attempts", Generation: 2,
		Request: jobs.Request{Method: "POST", Host: "example.com", URI: "/report?token=secret"},
		Created: time.Now().Add(-time.Hour), Begun: time.Now(), Ended: time.Now().Add(time.Second),
		Response: &jobs.Response{Status: 503, Size: 7}, Hook: &jobs.Hook{State: jobs.HookGivenUp, Tries: 10},
	}
}

// A job that has ended has one line, at the level of its state, without secrets.
func TestLineOfAJob(t *testing.T) {
	t.Parallel()
	for state, level := range map[jobs.State]zapcore.Level{
		jobs.Succeeded: zap.InfoLevel, jobs.Cancelled: zap.InfoLevel, jobs.Failed: zap.WarnLevel, jobs.Expired: zap.WarnLevel, jobs.Dead: zap.ErrorLevel,
	} {
		core, lines := observer.New(zap.DebugLevel)
		counted := 0
		r := record(state)
		joblog.Observe(func() *zap.Logger { return zap.New(core) }, jobs.Observer{Finished: func(*jobs.Record) { counted++ }}).Finished(r)
		if lines.Len() != 1 || counted != 1 {
			t.Fatalf("%s: %d lines, %d calls", state, lines.Len(), counted)
		}
		line := lines.All()[0]
		if line.Level != level {
			t.Errorf("%s: level %s, want %s", state, line.Level, level)
		}
		fields := line.ContextMap()
		for name, want := range map[string]any{
			"job": r.ID.Short(), "route": "reports", "state": state.String(), "path": "/report", "status": int64(503), "attempts": int64(2), "reason": "attempts",
		} {
			if fields[name] != want {
				t.Errorf("%s: %s is %v, want %v", state, name, fields[name], want)
			}
		}
		if took := fields["took"].(time.Duration); took > time.Minute {
			t.Errorf("%s: took %s, which counts the generation before", state, took)
		}
	}
}

// What needs an operator has a line, and nothing else has.
func TestLinesForOperators(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.DebugLevel)
	o := joblog.Observe(func() *zap.Logger { return zap.New(core) }, jobs.Observer{})
	r := record(jobs.Succeeded)
	o.StoreFailed(r, errors.New("disk"))
	o.Delivered(r, jobs.Delivery{Error: "status_500"})
	o.Recovered(jobs.Recovery{Crashed: true, Interrupted: 1})
	o.Panicked(nil, "boom", []byte("stack"))
	r.Hook.State = jobs.HookPending
	o.Delivered(r, jobs.Delivery{Error: "status_500"})
	var got []zapcore.Level
	for _, line := range lines.All() {
		got = append(got, line.Level)
	}
	if len(got) != 4 || got[3] != zap.ErrorLevel || got[0] != zap.ErrorLevel || got[1] != zap.WarnLevel || got[2] != zap.WarnLevel {
		t.Errorf("got %v", got)
	}
}
