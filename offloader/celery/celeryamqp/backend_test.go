package celeryamqp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
)

// Replies that are sent while the connection is down wait in the queue.
func TestRepliesSentIntoTheGapArrive(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	var calls []*celery.Call
	var tasks []*celery.Message
	for range 50 {
		call, m := l.start()
		calls, tasks = append(calls, call), append(tasks, m)
	}
	l.proxy.Refuse(true)
	for i, m := range tasks {
		l.succeed(m, fmt.Sprint(i))
	}
	l.proxy.Refuse(false)
	for i, call := range calls {
		l.wantEnd(call, fmt.Sprint(i), nil)
	}
}

func TestAQueueForRepliesThatIsGone(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	call, m := l.start()
	l.server.RemoveQueue(m.ReplyTo)
	l.proxy.Cut()
	l.wantEnd(call, "", celery.ErrResultLost)
	// The broker's connection was cut too, which it may notice only now.
	again, err := l.client.Start(l.ctx, celery.Task{Name: "lab.echo", Idempotent: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if m, err = l.system.Take(l.ctx, celery.DefaultQueue); err != nil {
		t.Fatal(err)
	}
	l.succeed(m, "1")
	l.wantEnd(again, "1", nil)
}

func TestAServerThatStaysAway(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{ReconnectTimeout: 200 * time.Millisecond})
	call, _ := l.start()
	l.proxy.Refuse(true)
	l.wantEnd(call, "", celery.ErrUnavailable)
	ctx, cancel := context.WithTimeout(l.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := l.client.Start(ctx, celery.Task{Name: "a"}); err == nil {
		t.Error("a call was made without a server")
	}
}

// A server that sends nothing but heartbeats is there.
func TestIdleConnectionsStay(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{Server: celeryamqp.Server{Heartbeat: 2 * time.Second}})
	call, m := l.start()
	before := l.proxy.Accepted()
	testkit.Quiet(7 * time.Second) // silence of 3 s is too long
	if after := l.proxy.Accepted(); after != before {
		t.Errorf("%d connections have become %d", before, after)
	}
	l.succeed(m, "1")
	l.wantEnd(call, "1", nil)
}

// A connection that is silent without being closed is replaced after three
// heartbeats.
func TestConnectionsThatAreSilentAreReplaced(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{Server: celeryamqp.Server{Heartbeat: time.Second}})
	call, m := l.start()
	before := l.proxy.Accepted()
	l.proxy.Stall(true)
	l.succeed(m, "1")
	testkit.Eventually(t, func() bool { return l.proxy.Accepted() > before })
	l.proxy.Stall(false)
	l.wantEnd(call, "1", nil)
}

func TestRepliesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{MaxResult: 1000})
	large, m := l.start()
	l.succeed(m, `"`+strings.Repeat("x", 2000)+`"`)
	l.wantEnd(large, "", celery.ErrTooLarge)
	pickled, m := l.start()
	conn, err := amqp.Dial(l.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := channel.PublishWithContext(l.ctx, "", m.ReplyTo, false, false, amqp.Publishing{
		CorrelationId: m.CorrelationID, ContentType: "application/x-python-serialize", Body: []byte("\x80\x04K"),
	}); err != nil {
		t.Fatal(err)
	}
	l.wantEnd(pickled, "", celery.ErrUnreadable)
}

// However many calls wait, there are two connections, and no reply stays in the
// queue.
func TestConnectionsDoNotGrowWithCalls(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	var all sync.WaitGroup
	calls := make([]*celery.Call, 500)
	for i := range calls {
		all.Go(func() {
			var err error
			if calls[i], err = l.client.Start(l.ctx, celery.Task{Name: "lab.echo"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := l.proxy.Accepted(); n != 2 {
		t.Errorf("%d connections", n)
	}
	for range calls {
		m, err := l.system.Take(l.ctx, celery.DefaultQueue)
		if err != nil {
			t.Fatal(err)
		}
		l.succeed(m, `"`+m.CorrelationID+`"`)
	}
	for _, call := range calls {
		l.wantEnd(call, `"`+call.ID()+`"`, nil)
		call.Close()
	}
	testkit.Eventually(t, func() bool { return l.server.Unacknowledged() == 0 })
}

func TestAClosedBackendRemovesItsQueue(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{QueuePrefix: "mine."})
	call, _ := l.start()
	if !slices.Contains(l.server.Queues(), l.backend.ReplyTo()) || !strings.HasPrefix(l.backend.ReplyTo(), "mine.") {
		t.Errorf("queues %q without %s", l.server.Queues(), l.backend.ReplyTo())
	}
	for range 2 {
		if err := l.backend.Close(); err != nil {
			t.Error(err)
		}
	}
	l.wantEnd(call, "", celery.ErrClosed)
	if queues := l.server.Queues(); slices.Contains(queues, l.backend.ReplyTo()) {
		t.Errorf("queues %q", queues)
	}
	if err := l.backend.Watch(l.ctx, "x", nil); !errors.Is(err, celery.ErrClosed) {
		t.Error(err)
	}
}
