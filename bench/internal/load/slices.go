package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
)

// SliceJob loads several targets in turn, each for a short slice, in many rounds,
// and reads the CPU clock of the processes of each. Slices are shorter than the
// disturbances of a shared machine, so those affect all targets equally.
type SliceJob struct {
	Targets []SliceTarget
	Clients int           // connections to each target, opened before the first slice
	Warmup  time.Duration // unmeasured load of each target before the first round
	Slice   time.Duration
	Rounds  int
	Buffer  int // read buffer of a connection
}

// SliceTarget is one target of a SliceJob.
type SliceTarget struct {
	Addr string
	Path string
	PIDs []int
}

// SliceResult is the result of all slices of a target together.
type SliceResult struct {
	Requests int
	Failed   int
	CPU      time.Duration // of its processes, from its first slice until the last slice of the job
	Time     time.Duration // sum of its slices
}

// CPUPerRequest returns the CPU time of one request in microseconds.
func (r SliceResult) CPUPerRequest() float64 {
	return float64(r.CPU) / float64(time.Microsecond) / float64(r.Requests)
}

// Throughput returns the requests per second.
func (r SliceResult) Throughput() float64 { return float64(r.Requests) / r.Time.Seconds() }

// slicer is one target while its job runs.
type slicer struct {
	target  SliceTarget
	request []byte
	conns   []*conn
	before  time.Duration // CPU time used before the first slice
	result  SliceResult
}

// RunSlices runs the job and returns one result per target.
func RunSlices(ctx context.Context, job SliceJob) ([]SliceResult, error) {
	slicers := make([]*slicer, len(job.Targets))
	for i, target := range job.Targets {
		stream := Stream{Addr: target.Addr, Path: target.Path}
		slicers[i] = &slicer{target: target, request: stream.request()}
		defer slicers[i].close()
		if err := slicers[i].open(ctx, job.Clients, job.Buffer); err != nil {
			return nil, fmt.Errorf("%s: %w", target.Addr, err)
		}
		slicers[i].run(ctx, job.Warmup)
		slicers[i].result = SliceResult{}
	}
	for _, s := range slicers {
		var err error
		if s.before, err = proc.CPU(s.target.PIDs); err != nil {
			return nil, err
		}
	}
	order := slices.Clone(slicers)
	for range job.Rounds {
		// A fixed order favours targets that follow themselves or a small
		// neighbour: they find their own code and data in the caches. A random
		// order treats all alike.
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			s.run(ctx, job.Slice)
		}
	}
	return sliceResults(slicers)
}

// sliceResults reads the clocks at the end, so that a garbage collection that
// outlasts a slice counts for its process.
func sliceResults(slicers []*slicer) ([]SliceResult, error) {
	results := make([]SliceResult, len(slicers))
	for i, s := range slicers {
		after, err := proc.CPU(s.target.PIDs)
		if err != nil {
			return nil, err
		}
		s.result.CPU = after - s.before
		results[i] = s.result
	}
	return results, nil
}

func (s *slicer) open(ctx context.Context, n, buffer int) error {
	for range n {
		c, err := dial(ctx, &net.Dialer{}, s.target.Addr, buffer)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, c)
	}
	return nil
}

func (s *slicer) close() {
	for _, c := range s.conns {
		_ = c.Close() // all its answers have been read
	}
}

// run keeps all connections busy for d. Each one ends with the answer that it
// was waiting for.
func (s *slicer) run(ctx context.Context, d time.Duration) {
	var (
		clients         sync.WaitGroup
		stop            atomic.Bool
		answers, failed atomic.Int64
	)
	start := time.Now()
	deadline := start.Add(d + time.Minute)
	for _, c := range s.conns {
		clients.Go(func() {
			for !stop.Load() {
				got, err := c.roundTrip(s.request, deadline)
				if err != nil || got.status != 200 || !got.keep {
					failed.Add(1)
					return
				}
				answers.Add(1)
			}
		})
	}
	rest(ctx, d)
	stop.Store(true)
	clients.Wait()
	s.result.Time += time.Since(start)
	s.result.Requests += int(answers.Load())
	s.result.Failed += int(failed.Load())
}
