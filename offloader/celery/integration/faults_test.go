//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// tally counts how calls have ended.
type tally struct {
	mu   sync.Mutex
	ends map[string]int
}

// clear errors are the documented ones.
var clear = []error{
	celery.ErrUnavailable, celery.ErrUnconfirmed, celery.ErrUnroutable, celery.ErrResultLost,
	context.DeadlineExceeded, celery.ErrWorkerLost,
}

func (a *tally) add(err error) {
	word := "answered"
	if err != nil {
		word = "not clear: " + err.Error()
		if _, ok := errors.AsType[*celery.TaskError](err); ok {
			word = "the worker could not report"
		}
		for _, class := range clear {
			if errors.Is(err, class) {
				word = class.Error()
				break
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends == nil {
		a.ends = make(map[string]int)
	}
	a.ends[word]++
}

func (a *tally) answered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ends["answered"]
}

// load lets callers call until stop, each with a deadline, and returns how their
// calls have ended. No call may take longer than its deadline.
func (b *bench) load(callers int, stop <-chan struct{}) (ended *tally, wait func()) {
	ended = new(tally)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
				_, err := b.client.Run(ctx, celery.Task{Name: "lab.sleep", Args: []any{0.02}}, nil)
				cancel()
				ended.add(err)
				if took := time.Since(began); took > 12*time.Second {
					b.t.Errorf("a call took %s", took)
				}
				if err != nil { // the caller tries again
					testkit.Pause(10 * time.Millisecond)
				}
			}
		})
	}
	return ended, all.Wait
}

// During any fault of the servers, each call ends with its result or with an error that
// names the cause. After the fault all works as before.
func TestServersThatFailUnderLoad(t *testing.T) {
	t.Parallel()
	for _, c := range combinations {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			b := benchAt(newOwnPlace(t, c), c, lab.WorkerOptions{Slots: 4}, celery.Settings{Revoke: celery.RevokeOn})
			for _, fault := range faultsOf(b) {
				t.Run(fault.name, func(t *testing.T) {
					stop := make(chan struct{})
					ended, wait := b.load(20, stop)
					eventually(t, "five answers to each caller", func() bool { return ended.answered() >= 100 })
					fault.strike()
					testkit.Pause(2 * time.Second) // the load after the fault
					close(stop)
					wait()
					t.Logf("%v", ended.ends)
					for word := range ended.ends {
						if len(word) > 10 && word[:10] == "not clear:" {
							t.Error(word)
						}
					}
					b.awaitAnswer(t)
					if n := b.client.Waiting(); n != 0 {
						t.Errorf("%d calls are left", n)
					}
				})
			}
		})
	}
}

// awaitAnswer waits until calls are answered again. A worker may no longer take tasks after
// its Redis was restarted, until it is restarted too (celery/celery#8030 and #10205).
func (b *bench) awaitAnswer(t *testing.T) {
	t.Helper()
	answers := func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		defer cancel()
		_, err := b.client.Run(ctx, celery.Task{Name: "lab.factorial", Args: []any{3}}, nil)
		return err == nil
	}
	if b.combination.broker == "redis" && !testkit.Poll(20*time.Second, answers) {
		t.Log("the worker takes no tasks, and is restarted")
		b.worker.Kill()
		b.worker.Restart()
	}
	eventually(t, "an answer", answers)
}

type fault struct {
	name   string
	strike func()
}

func faultsOf(b *bench) []fault {
	faults := []fault{
		{"all connections are cut, again and again", func() {
			for range 10 {
				b.cut()
				testkit.Pause(rand.N(200 * time.Millisecond))
			}
		}},
		{"the network is gone for a while", func() {
			b.stall(true)
			testkit.Pause(3 * time.Second)
			b.stall(false)
		}},
		{"Redis is killed and comes back", func() {
			b.redis.Kill()
			testkit.Pause(time.Second)
			b.redis.Restart()
		}},
	}
	if b.rabbit != nil {
		faults = append(faults,
			fault{"RabbitMQ is restarted", func() { b.rabbit.Stop(); b.rabbit.Restart() }},
			fault{"RabbitMQ is killed and comes back", func() { b.rabbit.Kill(); b.rabbit.Restart() }},
		)
	}
	return faults
}

func (p *place) stall(stall bool) {
	p.redisProxy.Stall(stall)
	if p.amqpProxy != nil {
		p.amqpProxy.Stall(stall)
	}
}

// A queue that no worker has ever declared is an error at once, and nothing is sent into
// the void.
func TestAQueueThatIsAbsent(t *testing.T) {
	t.Parallel()
	c := combination{"amqp", "rpc"}
	p := newPlace(t, c)
	client := celery.NewClient(p.openBroker(c), p.openBackend(c), celery.Settings{})
	for range 3 {
		began := time.Now()
		if _, err := client.Start(p.ctx, celery.Task{Name: "a", Queue: "nobody"}); !errors.Is(err, celery.ErrUnroutable) {
			t.Fatal(err)
		}
		t.Logf("error after %s", time.Since(began))
	}
	if n := client.Waiting(); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}

// The broker goes while a task runs. With results in Redis its result arrives all
// the same; with replies it arrives when the broker is back.
func TestTheBrokerGoesWhileTasksRun(t *testing.T) {
	t.Parallel()
	for _, c := range []combination{{"amqp", "redis"}, {"amqp", "rpc"}} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			b := benchAt(newOwnPlace(t, c), c, lab.WorkerOptions{Slots: 4}, celery.Settings{})
			trace, read := b.trace()
			var calls []*celery.Call
			for range 4 {
				call := b.start(celery.Task{Name: "lab.touch", Args: []any{trace, 2}})
				defer call.Close()
				calls = append(calls, call)
			}
			eventually(t, "running", func() bool { return read() == "xxxx" })
			b.rabbit.Stop()
			if c.backend == "rpc" {
				b.rabbit.Restart()
			}
			for _, call := range calls {
				result, err := call.Wait(b.ctx, nil)
				// A worker that could not report the result reports that.
				if failed, ok := errors.AsType[*celery.TaskError](result.Err()); ok && c.backend == "rpc" && failed.Type == "OperationalError" {
					continue
				}
				if err != nil || result.State != celery.Success {
					t.Errorf("%v %v", result.Err(), err)
				}
			}
		})
	}
}

// The queue for replies is gone with all the broker's data: the replies in it are lost,
// and waiting calls fail at once.
func TestTheQueueForRepliesIsGone(t *testing.T) {
	t.Parallel()
	c := combination{"amqp", "rpc"}
	b := newBench(t, c, lab.WorkerOptions{}, celery.Settings{})
	replier, ok := b.backend.(celery.Replier)
	if !ok {
		t.Fatal("no address for replies")
	}
	call := b.start(celery.Task{Name: "lab.sleep", Args: []any{30}})
	defer call.Close()
	if _, err := b.rabbit.Channel(t).QueueDelete(replier.ReplyTo(), false, false, false); err != nil {
		t.Fatal(err)
	}
	b.wantEnd(call, celery.ErrResultLost)
	eventually(t, "an answer", func() bool {
		_, err := b.run("lab.factorial", 3)
		return err == nil
	})
}

// A broker with durable data loses no accepted task when it is killed, and waiting calls
// continue to wait. This holds for queues that RabbitMQ has had for a while: a queue that
// was declared just before may be lost with all its messages, including confirmed ones.
func TestABrokerThatIsKilledLosesNoTask(t *testing.T) {
	t.Parallel()
	for _, c := range combinations {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			p := newOwnPlace(t, c)
			p.redis = lab.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
			p.redisProxy = celerytest.NewProxy(t, p.redis.Addr)
			if p.rabbit != nil {
				if _, err := p.rabbit.Channel(t).QueueDeclare("celery", true, false, false, false, nil); err != nil {
					t.Fatal(err)
				}
			}
			client := celery.NewClient(p.openBroker(c), p.openBackend(c), celery.Settings{})
			var calls []*celery.Call
			for n := range 50 {
				call, err := client.Start(p.ctx, celery.Task{Name: "lab.echo", Args: []any{n}})
				if err != nil {
					t.Fatal(err)
				}
				defer call.Close()
				if calls = append(calls, call); n == 0 && p.rabbit != nil {
					p.rabbit.Settle() // there are queues for tasks and replies
				}
			}
			p.killBroker()
			worker := p.startWorker(c, lab.WorkerOptions{})
			ctx, cancel := context.WithTimeout(p.ctx, 60*time.Second)
			defer cancel()
			for n, call := range calls {
				result, err := call.Wait(ctx, nil)
				if err != nil {
					t.Fatalf("%v; %s", err, p.explain(worker))
				}
				if want := fmt.Sprintf(`{"args": [%d], "kwargs": {}}`, n); string(result.Value) != want {
					t.Errorf("%s, want %s", result.Value, want)
				}
			}
		})
	}
}

func (p *place) killBroker() {
	if p.rabbit != nil {
		p.rabbit.Kill()
		p.rabbit.Restart()
		return
	}
	p.redis.Kill()
	p.redis.Restart()
}

// Redis closes the connection of a subscriber whose unsent data exceeds a limit. The caller of
// that task gets the cause; all others get their results.
func TestAHugeResultHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, c := range []combination{{"redis", "redis"}, {"amqp", "rpc"}} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c, lab.WorkerOptions{Slots: 4}, celery.Settings{})
			var calls []*celery.Call
			for range 20 {
				call := b.start(celery.Task{Name: "lab.sleep", Args: []any{0.3}})
				defer call.Close()
				calls = append(calls, call)
			}
			huge := b.start(celery.Task{Name: "lab.big", Args: []any{40 << 20}})
			defer huge.Close()
			large := b.start(celery.Task{Name: "lab.big", Args: []any{10 << 20}})
			defer large.Close()
			b.wantEnd(huge, celery.ErrTooLarge)
			b.wantEnd(large, nil)
			for _, call := range calls {
				b.wantEnd(call, nil)
			}
		})
	}
}
