package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// endpoint receives messages.
type endpoint struct {
	mu       sync.Mutex
	messages []jobs.Message
	times    []time.Time
	answer   func(m jobs.Message) jobs.Delivery
}

func (p *endpoint) deliver(_ context.Context, m jobs.Message) jobs.Delivery {
	p.mu.Lock()
	p.messages = append(p.messages, m)
	p.times = append(p.times, time.Now())
	p.mu.Unlock()
	return p.answer(m)
}

func TestAWebhookIsSentWhenItsJobHasEnded(t *testing.T) {
	p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return jobs.Delivery{Delivered: true} }}
	bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
		defer k.Bind("r", answer("small"), jobs.RouteLimits{})()
		id := k.accept(hooked, func(s *jobs.Submission) { s.Hook.WithResult = true })
		v := k.want(id, jobs.Succeeded, "")
		if v.Hook.State != jobs.HookDelivered || v.Hook.Tries != 1 || len(p.messages) != 1 {
			t.Fatalf("%+v, %d messages", v.Hook, len(p.messages))
		}
		m := p.messages[0]
		if m.ID != id.String()+".1" || string(m.Result) != "small" || m.Try != 1 || m.Record.State != jobs.Succeeded {
			t.Fatalf("%+v", m)
		}
		if k.Stats().HookBacklog != 0 {
			t.Fatal("there is a backlog")
		}
	})
}

// All tries of a webhook have the same message ID, over days, and the job stays until then.
func TestAWebhookIsTriedForDays(t *testing.T) {
	p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return jobs.Delivery{Error: "status_500"} }}
	bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
		id := k.accept(hooked)
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(time.Hour)
		v := k.want(id, jobs.Cancelled, "")
		if v.Hook.State != jobs.HookPending || v.Hook.Error != "status_500" || k.Stats().HookBacklog != 1 {
			t.Fatalf("%+v", v.Hook)
		}
		k.restart()
		pass(70 * time.Hour)
		if v = k.want(id, jobs.Cancelled, ""); v.Hook.State != jobs.HookPending {
			t.Fatalf("%+v after %d tries", v.Hook, v.Hook.Tries)
		}
		pass(30 * time.Hour)
		for i, m := range p.messages {
			if m.ID != p.messages[0].ID || m.Try != i+1 {
				t.Fatalf("%+v", m)
			}
		}
		var waits []string
		for i := range p.times[1:] {
			waits = append(waits, fmt.Sprint(p.times[i+1].Sub(p.times[i]).Round(5*time.Second)))
		}
		if len(p.messages) != 10 {
			t.Fatalf("%d tries: %v", len(p.messages), waits)
		}
		if p.times[9].Sub(p.times[0]) < 75*time.Hour {
			t.Fatal(waits)
		}
		if _, err := k.Get(t.Context(), id); err == nil {
			t.Fatal("it was not removed")
		}
	})
}

func TestAnEndpointDecidesAboutItsTries(t *testing.T) {
	for name, c := range map[string]struct {
		answer jobs.Delivery
		tries  int
		state  jobs.HookState
	}{
		"gone":        {jobs.Delivery{Gone: true, Error: "status_410"}, 1, jobs.HookGivenUp},
		"retry after": {jobs.Delivery{RetryAfter: 50 * time.Minute, Error: "status_429"}, 2, jobs.HookPending},
	} {
		t.Run(name, func(t *testing.T) {
			p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return c.answer }}
			bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
				id := k.accept(hooked)
				_, _ = k.Cancel(t.Context(), id, "owner")
				pass(59 * time.Minute)
				if v := k.want(id, jobs.Cancelled, ""); v.Hook.State != c.state || v.Hook.Tries != c.tries {
					t.Fatalf("%+v", v.Hook)
				}
			})
		})
	}
}

// A host gets four messages at a time, and does not delay another one.
func TestHostsGetFewMessagesAtATime(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		busy, most := map[string]int{}, map[string]int{}
		count := func(host string, n int) {
			k.note(func() {
				busy[host] += n
				most[host] = max(most[host], busy[host])
			})
		}
		k.options.Deliver = func(_ context.Context, m jobs.Message) jobs.Delivery {
			host := m.Record.Hook.URL
			count(host, +1)
			defer count(host, -1)
			if strings.Contains(host, "slow") {
				<-time.After(10 * time.Second)
			}
			return jobs.Delivery{Delivered: true}
		}
		k.Configure(k.options)
		var ids []jobs.ID
		for range 10 {
			ids = append(ids, k.accept(hooked, func(s *jobs.Submission) { s.Hook.URL = "https://slow.example/" }))
		}
		ids = append(ids, k.accept(hooked))
		for _, id := range ids {
			_, _ = k.Cancel(t.Context(), id, "owner")
		}
		if v := k.get(ids[10]); v.Hook.State != jobs.HookDelivered {
			t.Fatalf("%+v", v.Hook)
		}
		pass(30 * time.Second)
		for _, id := range ids {
			if v := k.get(id); v.Hook.State != jobs.HookDelivered {
				t.Fatalf("%+v", v.Hook)
			}
		}
		if most["https://slow.example/"] != 4 {
			t.Fatal(most)
		}
	})
}

// A message may be sent twice, but not lost, when its end cannot be stored.
func TestAMessageIsSentAgainIfItsEndWasNotStored(t *testing.T) {
	p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return jobs.Delivery{Delivered: true} }}
	bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
		id := k.accept(hooked)
		failed := 0
		k.inject(func(c memory.Call) error {
			if c.Method == "Update" && !c.After && len(p.messages) > 0 && failed < 2 {
				failed++
				return jobs.ErrFull
			}
			return nil
		})
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(5 * time.Minute)
		if v := k.want(id, jobs.Cancelled, ""); v.Hook.State != jobs.HookDelivered || len(p.messages) != 3 {
			t.Fatalf("%+v, %d messages", v.Hook, len(p.messages))
		}
	})
}

// Each generation has its message, also if a retry follows at once.
func TestARetryWaitsForTheMessageOfTheEnd(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		p := &endpoint{answer: func(jobs.Message) jobs.Delivery {
			<-time.After(time.Second)
			return jobs.Delivery{Delivered: true}
		}}
		k.options.Deliver = p.deliver
		k.Configure(k.options)
		id := k.accept(hooked)
		_, _ = k.Cancel(t.Context(), id, "owner")
		if v, err := k.Retry(t.Context(), id); err != nil || v.Hook.State != "" {
			t.Fatal(v, err)
		}
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(time.Minute)
		var ids []string
		for _, m := range p.messages {
			ids = append(ids, strings.TrimPrefix(m.ID, id.String()))
		}
		if !slices.Equal(ids, []string{".1", ".2"}) {
			t.Fatal(ids)
		}
	})
}

// Also if the job has ended again before the sender of the message before is done.
func TestARetryThatEndsAtOnceHasItsMessage(t *testing.T) {
	p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return jobs.Delivery{Delivered: true} }}
	bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
		var again atomic.Bool
		k.options.Observer.Delivered = func(r *jobs.Record, _ jobs.Delivery) {
			if again.CompareAndSwap(false, true) {
				_, _ = k.Retry(t.Context(), r.ID)
				_, _ = k.Cancel(t.Context(), r.ID, "owner")
				<-time.After(time.Second)
			}
		}
		k.Configure(k.options)
		id := k.accept(hooked)
		_, stop := k.Watch(id)
		defer stop()
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(time.Minute)
		if v := k.want(id, jobs.Cancelled, ""); v.Hook.State != jobs.HookDelivered || len(p.messages) != 2 {
			t.Fatalf("%+v, %d messages", v.Hook, len(p.messages))
		}
	})
}

func TestMessagesWaitForAWayToSendThem(t *testing.T) {
	p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return jobs.Delivery{Delivered: true} }}
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept(hooked)
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(3 * time.Hour)
		k.options.Deliver = p.deliver
		k.Configure(k.options)
		pass(time.Minute)
		if v := k.get(id); v.Hook.State != jobs.HookDelivered || v.Hook.Tries != 1 {
			t.Fatalf("%+v", v.Hook)
		}
	})
}

// A try that ends after a retry says nothing about the next generation.
func TestATryBelongsToItsGeneration(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		p := &endpoint{answer: func(m jobs.Message) jobs.Delivery {
			if m.Try == 1 && m.Record.Generation == 1 {
				return jobs.Delivery{Error: "status_500"}
			}
			<-time.After(30 * time.Second)
			return jobs.Delivery{Delivered: true}
		}}
		k.options.Deliver = p.deliver
		k.Configure(k.options)
		id := k.accept(hooked)
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(10 * time.Second)
		if _, err := k.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		_, _ = k.Cancel(t.Context(), id, "owner")
		pass(40 * time.Second)
		if v := k.get(id); v.Hook.State != jobs.HookPending || v.Hook.Tries != 0 {
			t.Fatalf("%+v", v.Hook)
		}
		pass(time.Minute)
		if v := k.get(id); v.Hook.State != jobs.HookDelivered || len(p.messages) != 3 || p.messages[2].ID != id.String()+".2" {
			t.Fatalf("%+v, %d messages", v.Hook, len(p.messages))
		}
	})
}

// A job that is forgotten at once has its message nevertheless; if the first try fails, the
// others are given up.
func TestForgetWaitsForTheMessageOfTheEnd(t *testing.T) {
	for name, d := range map[string]jobs.Delivery{
		"delivered": {Delivered: true},
		"failed":    {Error: "status_500"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				p := &endpoint{answer: func(jobs.Message) jobs.Delivery {
					<-time.After(time.Second)
					return d
				}}
				k.options.Deliver = p.deliver
				k.Configure(k.options)
				id := k.accept(hooked)
				_, _ = k.Cancel(t.Context(), id, "owner")
				hurry, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if err := k.Forget(hurry, id); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				k.want(id, jobs.Cancelled, "")
				if err := k.Forget(t.Context(), id); err != nil || len(p.messages) != 1 {
					t.Fatalf("%v after %d messages", err, len(p.messages))
				}
				pass(time.Hour)
				if _, err := k.Get(t.Context(), id); !errors.Is(err, jobs.ErrUnknown) || len(p.messages) != 1 || k.Stats().HookBacklog != 0 {
					t.Fatalf("%v after %d messages", err, len(p.messages))
				}
			})
		})
	}
}

// A message that could not be sent for many days, since the process was away, is sent before its
// job is removed, however long that takes.
func TestAJobIsNotRemovedBeforeItsMessage(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		p := &endpoint{answer: func(jobs.Message) jobs.Delivery {
			<-time.After(10 * time.Minute)
			return jobs.Delivery{Delivered: true}
		}}
		id := k.accept(hooked)
		_, _ = k.Cancel(t.Context(), id, "owner")
		k.close()
		pass(10 * 24 * time.Hour)
		k.options.Deliver = p.deliver
		k.restart()
		pass(5 * time.Minute) // longer than sweeps are apart
		k.want(id, jobs.Cancelled, "")
		pass(6 * time.Minute)
		if v := k.want(id, jobs.Cancelled, ""); v.Hook.State != jobs.HookDelivered || len(p.messages) != 1 {
			t.Fatalf("%+v", v.Hook)
		}
	})
}
