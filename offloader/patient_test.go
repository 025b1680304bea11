package offloader_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// jobs lets n patient callers of the class "jobs" come.
func (s *stage) jobs(n int) (all []*caller) {
	for range n {
		all = append(all, s.patient(offloader.Claim{Class: "jobs"}))
	}
	return all
}

func (s *stage) patient(c offloader.Claim) *caller {
	return s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, Claim: &c, Patient: true})
}

// withJobs has a class of jobs that gets as much as the others.
func withJobs(s *offloader.Settings) {
	s.Classes = []offloader.Class{{Name: "normal", Weight: 1}, {Name: "jobs", Weight: 1}}
}

func TestPatientCallers(t *testing.T) {
	play(t, "wait beyond max_wait", func(s *offloader.Settings) {
		withJobs(s)
		s.MaxWait = second
	}, func(s *stage) {
		s.arrive()
		job, request := s.jobs(1), s.arrive()
		s.pass(time.Hour)
		request.wantAnswer("wait_timeout", second)
		s.want(job, "waiting")
	})
	play(t, "take no place", func(s *offloader.Settings) {
		withJobs(s)
		s.Queue = 1
	}, func(s *stage) {
		s.arrive()
		s.want(s.jobs(3), "waiting waiting waiting")
		s.want(s.arrivals(2), "waiting queue_full")
		s.want(s.jobs(1), "waiting")
		s.wantGauges("1 of 1 running, 1 waiting")
	})
	play(t, "take no place of their key", func(s *offloader.Settings) {
		withJobs(s)
		s.QueuePerKey = 1
	}, func(s *stage) {
		s.arrive()
		job := offloader.Claim{Key: "a", Class: "jobs"}
		s.want([]*caller{s.patient(job), s.patient(job)}, "waiting waiting")
		s.want(s.keys("aa"), "waiting key_queue_full")
	})
	play(t, "are not displaced", func(s *offloader.Settings) {
		s.Classes = []offloader.Class{{Name: "urgent", Weight: 100}, {Name: "jobs", Weight: 1}}
		s.Queue = 2
	}, func(s *stage) {
		s.arrive()
		jobs := s.jobs(3)
		urgent := offloader.Claim{Class: "urgent"}
		for range 4 {
			s.claims(urgent)
		}
		s.want(jobs, "waiting waiting waiting")
	})
	play(t, "are not late", func(s *offloader.Settings) {
		withJobs(s)
		s.MaxWait, s.Queue = 20*second, 100
	}, func(s *stage) {
		s.learn(5 * second)
		s.arrive()
		jobs := s.jobs(40)
		if got := s.pool.Snapshot(); got.NewestFirst {
			t.Error("the newest are served first because of jobs")
		}
		request := s.arrive()
		for range 3 {
			s.pass(5 * second)
			for _, c := range s.came {
				if c.state() == "admitted" && !c.finished {
					c.release(offloader.Success)
					break
				}
			}
		}
		if request.state() != "admitted" {
			t.Errorf("the request is %s", request.state())
		}
		s.want(jobs[len(jobs)-1:], "waiting")
	})
	play(t, "share the permits by weight", func(s *offloader.Settings) {
		withJobs(s)
		s.Queue = 100
	}, func(s *stage) {
		holder := s.arrive()
		jobs := s.jobs(20)
		requests := s.arrivals(20)
		running, began := holder, map[bool]int{}
		for range 20 {
			s.pass(second)
			running.release(offloader.Success)
			for _, c := range slices.Concat(jobs, requests) {
				if c.state() == "admitted" && !c.finished {
					running = c
				}
			}
			began[slices.Contains(jobs, running)]++
		}
		if began[true] < 9 || began[true] > 11 {
			t.Errorf("%d of 20 runs were of jobs", began[true])
		}
	})
	play(t, "are served in order", withJobs, func(s *stage) {
		running := s.arrive()
		jobs := s.jobs(3)
		for _, job := range jobs {
			s.pass(second)
			running.release(offloader.Success)
			s.want([]*caller{job}, "admitted")
			running = job
		}
	})
	play(t, "leave", withJobs, func(s *stage) {
		s.arrive()
		job := s.jobs(1)
		job[0].leave(errLeft)
		synctest.Wait()
		s.want(job, "left")
		if got := s.pool.Snapshot(); got.Left != 0 {
			t.Errorf("%d have left", got.Left)
		}
	})
	play(t, "wait while the pool is paused", withJobs, func(s *stage) {
		s.pool.Pause()
		job := s.jobs(1)
		s.want(job, "waiting")
		s.pool.Resume()
		synctest.Wait()
		s.want(job, "admitted")
	})
	play(t, "without shares", nil, func(s *stage) {
		holder := s.arrive()
		job := s.patient(offloader.Claim{})
		holder.release(offloader.Success)
		s.want([]*caller{job}, "admitted")
	})
	play(t, "take several permits", func(s *offloader.Settings) {
		withJobs(s)
		s.Concurrency = 3
	}, func(s *stage) {
		holders := s.arrivals(3)
		job := s.patient(offloader.Claim{Class: "jobs", Cost: 2})
		holders[0].release(offloader.Success)
		s.want([]*caller{job}, "waiting")
		holders[1].release(offloader.Success)
		s.want([]*caller{job}, "admitted")
		s.wantGauges("3 of 3 running, 0 waiting")
	})
}

// Rejections of patient callers are not counted, and say when to come again.
func TestPatientCallersAreTurnedAway(t *testing.T) {
	turnedAway := func(s *stage, c *caller, reason string) {
		s.t.Helper()
		var rejected *offloader.RejectedError
		if c.state() != reason || !errors.As(c.err, &rejected) || rejected.NextRetry().Turn < second {
			s.t.Errorf("the job is %s", c.state())
		}
		n := s.pool.Snapshot()
		for r, count := range n.Rejected {
			if count > 0 {
				s.t.Errorf("%d are counted as rejected: %s", count, r)
			}
		}
		for _, class := range n.Classes {
			if class.Name == "jobs" && class.Rejected > 0 {
				s.t.Errorf("the class has %d rejections", class.Rejected)
			}
		}
	}
	play(t, "by a drain while they wait", withJobs, func(s *stage) {
		s.arrive()
		job := s.jobs(1)[0]
		s.pool.Drain(ended(nil))
		synctest.Wait()
		turnedAway(s, job, "draining")
		turnedAway(s, s.jobs(1)[0], "draining")
	})
	play(t, "by a pool that is closed", withJobs, func(s *stage) {
		s.arrive()
		job := s.jobs(1)[0]
		s.pool.Close(ended(nil))
		synctest.Wait()
		turnedAway(s, job, "closed")
	})
	play(t, "by the breaker", func(s *offloader.Settings) {
		withJobs(s)
		s.Breaker = inARow(1)
	}, func(s *stage) {
		holder := s.arrive()
		job := s.jobs(1)[0]
		holder.release(offloader.Failure)
		turnedAway(s, job, "breaker_open")
		s.pass(5 * second)
		turnedAway(s, s.jobs(1)[0], "breaker_open")
		s.pass(5*second + time.Millisecond)
		s.want(s.jobs(1), "admitted")
		s.wantBreaker(offloader.StateHalfOpen)
	})
}

// A breaker that holds its callers holds patient ones too, and they may be its probes.
func TestPatientCallersAreHeld(t *testing.T) {
	play(t, "until a probe", func(s *offloader.Settings) {
		withJobs(s)
		s.Breaker = inARow(1)
		s.Breaker.Hold = time.Minute
	}, func(s *stage) {
		holder := s.arrive()
		jobs := s.jobs(2)
		holder.release(offloader.Failure)
		s.want(jobs, "waiting waiting")
		s.pass(second)
		s.want(jobs, "admitted waiting")
		jobs[0].release(offloader.Success)
		s.want(jobs, "admitted admitted")
	})
}

// With AcquireNow a patient caller gets a permit that is free, and does not wait for one.
func TestPatientCallersThatDoNotWait(t *testing.T) {
	play(t, "now", withJobs, func(s *stage) {
		ticket := &offloader.Ticket{Pool: s.pool, Claim: &offloader.Claim{Class: "jobs"}, Patient: true}
		permit, err := ticket.AcquireNow()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ticket.AcquireNow(); !errors.Is(err, offloader.ErrNotNow) {
			t.Errorf("got %v", err)
		}
		permit.Release(offloader.Success)
	})
}
