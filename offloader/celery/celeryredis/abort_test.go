package celeryredis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// The stored state and its time to live equal those of Celery's own client.
func TestAbortIsAsCelerysOwn(t *testing.T) {
	t.Parallel()
	for kept, s := range map[time.Duration]celeryredis.BackendSettings{
		24 * time.Hour: {}, time.Minute: {Prefix: "app_celery-task-meta-", Expires: time.Minute},
	} {
		l := newLab(t, s)
		call, m := l.start()
		if err := l.client.Abort(l.ctx, m.CorrelationID); err != nil {
			t.Fatal(err)
		}
		if result, err := call.Next(l.ctx); result.State != celery.Aborted || err != nil {
			t.Errorf("%v %v", result, err)
		}
		prefix := s.Prefix
		if prefix == "" {
			prefix = celeryredis.DefaultResultPrefix
		}
		if got := l.server.TTL(prefix + m.CorrelationID); got != kept {
			t.Errorf("kept for %s, want %s", got, kept)
		}
		call.Close()
	}
}

// A result that is stored at the same moment is not lost.
func TestAbortYieldsToAResult(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{})
	call, m := l.start()
	defer call.Close()
	l.server.Before("EXEC", func() { l.succeed(m, "7") })
	if err := l.client.Abort(l.ctx, m.CorrelationID); err != nil {
		t.Fatal(err)
	}
	l.wantValue(call, "7")
	late, err := l.client.Attach(l.ctx, m.CorrelationID)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	l.wantValue(late, "7")
}

func TestAbortOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{MaxResult: 1000})
	for stored, want := range map[string]error{"\x80\x04pickle": celery.ErrUnreadable, strings.Repeat("x", 1001): celery.ErrTooLarge} {
		l.server.Set("celery-task-meta-a", stored)
		if err := l.client.Abort(l.ctx, "a"); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	l.server.Deny("WATCH", "NOPERM this user has no permissions")
	if err := l.client.Abort(l.ctx, "b"); !errors.Is(err, celery.ErrUnavailable) {
		t.Error(err)
	}
}
