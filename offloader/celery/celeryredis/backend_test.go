package celeryredis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// lab is a client of a Redis in the test's process, with a proxy in between and a worker.
type lab struct {
	t      *testing.T
	ctx    context.Context
	server *redistest.Server
	proxy  *celerytest.Proxy
	system *redistest.System
	client *celery.Client
}

func newLab(t *testing.T, s celeryredis.BackendSettings) *lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	server := redistest.NewServer(t)
	proxy := celerytest.NewProxy(t, server.Addr())
	s.URL = "redis://" + proxy.Addr()
	broker, backend := openBroker(t, s.URL), openBackend(t, s)
	system := redistest.NewSystem(t, redistest.Options{
		URL: server.URL(), Broker: broker, Backend: backend, Interrupt: proxy.Cut, ResultPrefix: s.Prefix,
	})
	return &lab{t, ctx, server, proxy, system, celery.NewClient(broker, backend, celery.Settings{})}
}

func (l *lab) start() (*celery.Call, *celery.Message) {
	l.t.Helper()
	call, err := l.client.Start(l.ctx, celery.Task{Name: "lab.echo"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(call.Close)
	m, err := l.system.Take(l.ctx, celery.DefaultQueue)
	if err != nil {
		l.t.Fatal(err)
	}
	return call, m
}

// reportUnheard starts calls, cuts the client's connections, and reports the number of each task
// as its result.
func (l *lab) reportUnheard(calls int) []*celery.Call {
	l.t.Helper()
	var open []*celery.Call
	var tasks []*celery.Message
	for range calls {
		call, m := l.start()
		open, tasks = append(open, call), append(tasks, m)
	}
	l.proxy.Refuse(true)
	for i, m := range tasks {
		l.succeed(m, fmt.Sprint(i))
	}
	return open
}

func (l *lab) succeed(m *celery.Message, value string) {
	l.t.Helper()
	if err := l.system.Report(l.ctx, m, celerytest.Succeed(m, value)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) wantValue(call *celery.Call, value string) {
	l.t.Helper()
	if result, err := call.Wait(l.ctx, nil); err != nil || string(result.Value) != value {
		l.t.Errorf("%s %v, want %s", result.Value, err, value)
	}
}

func (l *lab) wantFailure(call *celery.Call, want error) {
	l.t.Helper()
	if result, err := call.Wait(l.ctx, nil); !errors.Is(err, want) {
		l.t.Errorf("%s %v, want %v", result.Value, err, want)
	}
}

// A worker may report the result at once, so the subscription is confirmed before the task is
// sent.
func TestTheServerListensBeforeTheTaskIsSent(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{})
	for range 100 {
		call, m := l.start()
		if !l.server.Subscribed("celery-task-meta-" + m.CorrelationID) {
			t.Fatal("sent before the subscription")
		}
		call.Close()
	}
	testkit.Eventually(t, func() bool { return len(l.server.PubSubChannels("")) == 0 })
}

// A state that is published without a connection is not delivered. The stored state is fetched
// after the reconnect.
func TestResultsPublishedIntoTheGapAreFetched(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{})
	const calls = 50
	open := l.reportUnheard(calls)
	if l.server.Count("MGET") != 0 {
		t.Error("fetched already")
	}
	l.proxy.Refuse(false)
	for i, call := range open {
		l.wantValue(call, fmt.Sprint(i))
	}
	if n := l.server.Count("MGET"); n == 0 || n > 5 {
		t.Errorf("%d commands for %d results", n, calls)
	}
}

// An open connection without data is replaced.
func TestConnectionsThatAreSilentAreReplaced(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{PingEvery: 20 * time.Millisecond})
	call, m := l.start()
	before := l.proxy.Accepted()
	l.proxy.Stall(true)
	l.succeed(m, "1")
	testkit.Eventually(t, func() bool { return l.proxy.Accepted() > before })
	l.proxy.Stall(false)
	l.wantValue(call, "1")
}

func TestResultsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	large := `"` + strings.Repeat("x", 2000) + `"`
	for _, poll := range []bool{false, true} {
		l := newLab(t, celeryredis.BackendSettings{MaxResult: 1000, Poll: poll})
		call, m := l.start()
		other, otherTask := l.start()
		l.succeed(m, large)
		l.wantFailure(call, celery.ErrTooLarge)
		l.succeed(otherTask, "1") // other calls are not affected
		l.wantValue(other, "1")
		if _, err := l.client.Attach(l.ctx, call.ID()); !errors.Is(err, celery.ErrTooLarge) {
			t.Errorf("attaching: %v", err)
		}
	}
	t.Run("in the gap", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryredis.BackendSettings{MaxResult: 1000})
		call, m := l.start()
		l.proxy.Refuse(true)
		l.succeed(m, large)
		l.proxy.Refuse(false)
		l.wantFailure(call, celery.ErrTooLarge)
	})
}

// Many results are fetched in several replies of limited size.
func TestFetchingIsBounded(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{MaxResult: 3000})
	value := `"` + strings.Repeat("x", 1000) + `"`
	var open []*celery.Call
	var tasks []*celery.Message
	for range 20 {
		call, m := l.start()
		open, tasks = append(open, call), append(tasks, m)
	}
	l.proxy.Refuse(true)
	for _, m := range tasks {
		l.succeed(m, value)
	}
	l.proxy.Refuse(false)
	for _, call := range open {
		l.wantValue(call, value)
	}
	if n := l.server.Count("MGET"); n < 10 {
		t.Errorf("%d answers for 20 results of which two fit into one", n)
	}
}

// A server that has lost its data has lost the result. The loss cannot be detected, so the
// caller's deadline ends the wait. The task is not sent again.
func TestAServerThatForgetsEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{})
	call, m := l.start()
	l.proxy.Refuse(true)
	l.succeed(m, "1")
	l.server.FlushAll()
	l.proxy.Refuse(false)
	ctx, cancel := context.WithTimeout(l.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := call.Wait(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if n := l.server.Count("LPUSH"); n != 1 {
		t.Errorf("sent %d times", n)
	}
	again, m := l.start()
	l.succeed(m, "2")
	l.wantValue(again, "2")
}

func TestAServerThatIsAway(t *testing.T) {
	t.Parallel()
	t.Run("new calls fail", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryredis.BackendSettings{Server: celeryredis.Server{Timeout: 100 * time.Millisecond}})
		l.proxy.Refuse(true)
		testkit.Eventually(t, func() bool { return l.proxy.Connections() == 0 })
		if _, err := l.client.Start(l.ctx, celery.Task{Name: "a"}); !errors.Is(err, celery.ErrUnavailable) {
			t.Error(err)
		}
		l.proxy.Refuse(false)
		testkit.Eventually(t, func() bool {
			call, err := l.client.Start(l.ctx, celery.Task{Name: "a"})
			if err == nil {
				call.Close()
			}
			return err == nil
		})
	})
	for name, poll := range map[string]bool{"listening": false, "polling": true} {
		t.Run("waiting calls fail in the end, "+name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, celeryredis.BackendSettings{ReconnectTimeout: 200 * time.Millisecond, Poll: poll})
			call, _ := l.start()
			l.proxy.Refuse(true)
			l.wantFailure(call, celery.ErrUnavailable)
		})
	}
	t.Run("a caller that leaves returns at once", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryredis.BackendSettings{})
		l.proxy.Refuse(true)
		testkit.Eventually(t, func() bool { return l.proxy.Connections() == 0 })
		ctx, cancel := context.WithTimeout(l.ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := l.client.Start(ctx, celery.Task{Name: "a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestAServerThatForbidsToSubscribe(t *testing.T) {
	t.Parallel()
	denied := "NOPERM this user has no permissions to access one of the channels"
	l := newLab(t, celeryredis.BackendSettings{Server: celeryredis.Server{Timeout: 200 * time.Millisecond}})
	l.server.Deny("SUBSCRIBE", denied)
	testkit.Eventually(t, func() bool { // a call returns the error if the reply came before its end
		_, err := l.client.Start(l.ctx, celery.Task{Name: "a"})
		if !errors.Is(err, celery.ErrUnavailable) {
			t.Fatalf("listening: %v", err)
		}
		return strings.Contains(err.Error(), "NOPERM")
	})
	polling := newLab(t, celeryredis.BackendSettings{Poll: true})
	polling.server.Deny("SUBSCRIBE", denied)
	call, m := polling.start()
	polling.succeed(m, "1")
	polling.wantValue(call, "1")
}

// One command polls for all waiting calls.
func TestPollingAsksForAllAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{Poll: true})
	const calls = 100
	open := l.reportUnheard(calls)
	l.proxy.Refuse(false)
	for i, call := range open {
		l.wantValue(call, fmt.Sprint(i))
	}
	if n := l.server.Count("MGET"); n == 0 || n > calls/5 {
		t.Errorf("%d commands for %d results", n, calls)
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{Prefix: "app1_celery-task-meta-"})
	call, m := l.start()
	l.succeed(m, "1")
	l.wantValue(call, "1")
}

// The number of connections is independent of the number of waiting calls.
func TestConnectionsDoNotGrowWithCalls(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryredis.BackendSettings{})
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			call, err := l.client.Start(l.ctx, celery.Task{Name: "lab.echo"})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(call.Close)
		})
	}
	all.Wait()
	// One subscribes, and eight publish.
	if n := l.proxy.Accepted(); n > 1+celeryredis.DefaultConnections {
		t.Errorf("%d connections", n)
	}
	if n := l.client.Waiting(); n != 500 {
		t.Errorf("%d calls wait", n)
	}
}

func TestRepliesCleanUp(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	replies := openReplies(t, celeryredis.RepliesSettings{Server: celeryredis.Server{URL: server.URL()}})
	system := redistest.NewSystem(t, redistest.Options{URL: server.URL(), Backend: replies})
	task := &celery.Message{ReplyTo: replies.ReplyTo(), CorrelationID: "x"}
	if err := system.Report(t.Context(), task, celerytest.Succeed(task, "1")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() bool { return server.Count("BRPOPLPUSH") > 1 })
	if err := replies.Close(); err != nil {
		t.Fatal(err)
	}
	if keys := server.Keys(); len(keys) != 0 {
		t.Errorf("keys %q", keys)
	}
	if err := replies.Watch(t.Context(), "x", nil); !errors.Is(err, celery.ErrClosed) {
		t.Errorf("watching: %v", err)
	}
}

func TestRepliesThatAreTooLargeOrMakeNoSense(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	url := server.URL()
	replies := openReplies(t, celeryredis.RepliesSettings{Server: celeryredis.Server{URL: url}, MaxResult: 1000})
	broker := openBroker(t, url)
	system := redistest.NewSystem(t, redistest.Options{URL: url, Broker: broker, Backend: replies})
	client := celery.NewClient(broker, replies, celery.Settings{})
	call, err := client.Start(t.Context(), celery.Task{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	m, err := system.Take(t.Context(), celery.DefaultQueue)
	if err != nil {
		t.Fatal(err)
	}
	server.Lpush(replies.ReplyTo(), "nonsense")
	if err := system.Report(t.Context(), m, celerytest.Succeed(m, `"`+strings.Repeat("x", 2000)+`"`)); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Next(t.Context()); !errors.Is(err, celery.ErrTooLarge) {
		t.Error(err)
	}
}

func TestRepliesWaitForAServerOnlySoLong(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	proxy := celerytest.NewProxy(t, server.Addr())
	replies := openReplies(t, celeryredis.RepliesSettings{
		Server: celeryredis.Server{URL: "redis://" + proxy.Addr()}, ReconnectTimeout: 100 * time.Millisecond,
	})
	call, err := celery.NewClient(openBroker(t, server.URL()), replies, celery.Settings{}).Start(t.Context(), celery.Task{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	proxy.Refuse(true)
	if _, err := call.Next(t.Context()); !errors.Is(err, celery.ErrUnavailable) {
		t.Error(err)
	}
}
