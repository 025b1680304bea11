package celerytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// worker receives the commands to one worker.
func (s *scene) worker(name string, commands chan<- celery.Command) {
	s.busy.Go(func() {
		for s.ctx.Err() == nil {
			err := s.system.Commands(s.ctx, name, func(c celery.Command) []byte {
				if commands != nil {
					commands <- c
				}
				return reply(name, c)
			})
			if err == nil {
				return
			}
			s.pause()
		}
	})
}

// reply returns the reply of a worker to a command.
func reply(name string, c celery.Command) []byte {
	replies := map[string]string{
		"ping":          `{"ok": "pong"}`,
		"stats":         `{"pool": {"max-concurrency": 4}, "prefetch_count": 16, "uptime": 9, "total": {"lab.echo": 3}}`,
		"registered":    `["lab.echo", "lab.sleep"]`,
		"active_queues": `[{"name": "celery", "routing_key": "celery"}]`,
	}
	text, ok := replies[c.Method]
	if !ok {
		text = fmt.Sprintf(`{"error": "KeyError('%s')"}`, c.Method)
	}
	return fmt.Appendf(nil, `{%q: %s}`, name, text)
}

func commands(s *scene) {
	controller, ok := s.system.Broker().(celery.Controller)
	if !ok {
		return
	}
	commands := make(chan celery.Command, 64)
	s.worker("w1@here", commands)
	for {
		s.reach(controller, celery.Command{Method: "ping"})
		if len(commands) > 0 {
			break
		}
		s.pause()
	}
	s.client.Revoke("a", false)
	s.client.Revoke("b", false)
	for {
		select {
		case c := <-commands:
			if c.Method == "revoke" {
				ids, _ := c.Arguments["task_id"].([]any)
				if strs, isText := c.Arguments["task_id"].([]string); isText {
					ids = []any{strs[0], strs[1]}
				}
				if !slices.Equal(ids, []any{"a", "b"}) || c.Arguments["terminate"] != false {
					s.t.Errorf("revoked: %v", c.Arguments)
				}
				return
			}
		case <-s.ctx.Done():
			s.t.Fatal("no command to revoke")
		}
	}
}

// reach broadcasts a command.
func (s *scene) reach(controller celery.Controller, c celery.Command) {
	s.t.Helper()
	if _, err := controller.Broadcast(s.ctx, c); err != nil {
		s.t.Fatal(err)
	}
}

func replies(s *scene) {
	if _, ok := s.system.Broker().(celery.Controller); !ok {
		return
	}
	s.worker("w1@here", nil)
	s.worker("w2@here", nil)
	workers := celery.NewWorkers(s.system.Broker())
	defer workers.Close()
	var names []string
	for len(names) < 2 && s.ctx.Err() == nil {
		var err error
		if names, err = workers.Ping(s.ctx); err != nil {
			s.t.Fatal(err)
		}
	}
	stats, err := workers.Stats(s.ctx)
	if err != nil || stats["w1@here"].Slots != 4 || stats["w2@here"].Total["lab.echo"] != 3 {
		s.t.Errorf("stats: %v %v", stats, err)
	}
	if known, err := workers.Knows(s.ctx, "lab.echo"); !known || err != nil {
		s.t.Errorf("lab.echo is known: %t %v", known, err)
	}
	if known, err := workers.Knows(s.ctx, "lab.other"); known || err != nil {
		s.t.Errorf("lab.other is known: %t %v", known, err)
	}
	one, err := workers.Inspect(s.ctx, celery.Command{Method: "nonsense", Destination: []string{"w2@here"}})
	if _, ok := one["w2@here"]; !ok || len(one) != 1 || err != nil {
		s.t.Errorf("asking one: %v %v", one, err)
	}
}

func heartbeats(s *scene) {
	if _, ok := s.system.Broker().(celery.Follower); !ok {
		return
	}
	workers := celery.NewWorkers(s.system.Broker())
	s.busy.Go(func() { workers.Follow(s.ctx) })
	beat, err := json.Marshal(map[string]any{"type": "worker-heartbeat", "hostname": "w1@here", "freq": 2.0, "active": 3})
	if err != nil {
		s.t.Fatal(err)
	}
	s.untilKnown(workers, beat, 1)
	if all := workers.Snapshot(); all[0].Name != "w1@here" || all[0].Active != 3 {
		s.t.Errorf("workers: %v", all)
	}
	s.system.Interrupt()
	offline := []byte(`[{"type": "worker-offline", "hostname": "w1@here"}]`)
	s.untilKnown(workers, offline, 0)
}

// untilKnown sends an event until n workers are known, since Follow may not have started.
func (s *scene) untilKnown(workers *celery.Workers, event []byte, n int) {
	s.t.Helper()
	for len(workers.Snapshot()) != n {
		if err := s.system.Event(s.ctx, "worker.heartbeat", event); err != nil && s.ctx.Err() != nil {
			s.t.Fatal(err)
		}
		if s.pause(); s.ctx.Err() != nil {
			s.t.Fatal(errors.Join(errNotKnown, context.Cause(s.ctx)))
		}
	}
}

var errNotKnown = errors.New("events of the workers have not arrived")
