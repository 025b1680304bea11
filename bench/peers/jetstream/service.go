package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// service is this project's engine, with its service.
type service struct {
	jobs  *jobs.Service
	ended sync.Map // a channel for each job that a client waits for
	body  []byte
}

func openService(ctx context.Context, folder string) (*service, error) {
	store, err := bolt.Open(folder, bolt.Options{MaxBytes: -1, MinFree: -1})
	if err != nil {
		return nil, fmt.Errorf("opening bbolt: %w", err)
	}
	s := &service{body: make([]byte, size)}
	s.jobs, err = jobs.Open(ctx, store, jobs.Options{Observer: jobs.Observer{Finished: s.finished}})
	if err != nil {
		return nil, fmt.Errorf("opening the service: %w", err)
	}
	s.jobs.Bind("bench", s, jobs.RouteLimits{Concurrency: executors})
	return s, nil
}

// Execute runs a job, whose result is as long as its body.
func (s *service) Execute(_ context.Context, offer *jobs.Offer) jobs.Verdict {
	a, err := offer.Start()
	if err != nil {
		return jobs.Verdict{Class: jobs.NotSent}
	}
	if err := a.Begin(200, nil); err != nil {
		return jobs.Verdict{Class: jobs.Broken}
	}
	if _, err := a.Write(s.body); err != nil {
		return jobs.Verdict{Class: jobs.Broken}
	}
	a.End(nil)
	return jobs.Verdict{Class: jobs.Completed}
}

func (s *service) end(id jobs.ID) chan struct{} {
	ended, _ := s.ended.LoadOrStore(id, make(chan struct{}))
	return ended.(chan struct{})
}

func (s *service) finished(r *jobs.Record) { close(s.end(r.ID)) }

// Cycle accepts a job and waits for its end.
func (s *service) Cycle(ctx context.Context) error {
	accepted, err := s.jobs.Accept(ctx, jobs.Submission{
		Route: "bench", Request: jobs.Request{Method: "POST", URI: "/report", Host: "example.com"},
		Body:   jobs.Body{Inline: s.body, Size: size},
		Policy: jobs.Policy{MaxAttempts: 1, Keep: time.Hour, KeepDead: time.Hour},
	})
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	id := accepted.View.ID
	defer s.ended.Delete(id)
	select {
	case <-s.end(id):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a job: %w", ctx.Err())
	}
}

// Close closes the store.
func (s *service) Close() error { return s.jobs.Close(context.Background()) }
