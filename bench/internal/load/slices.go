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
	Clients int           // connections to each target, opened before the first slice and always busy
	Rate    float64       // requests per second of an open loop that takes the place of Clients; 0: none
	Warmup  time.Duration // unmeasured load of each target before the first round
	Slice   time.Duration
	Rounds  int
	Buffer  int // read buffer of a connection
}

// SliceTarget is one target of a SliceJob.
type SliceTarget struct {
	Addr   string
	Path   string
	Header string // further header lines, each with its CRLF
	PIDs   []int
}

// SliceResult is the result of all slices of a target together.
type SliceResult struct {
	Requests int
	Failed   int
	CPU      time.Duration // of its processes, from its first slice until the last slice of the job
	Time     time.Duration // sum of its slices

	// Took has the times of the requests of an open loop, in nanoseconds, from
	// their sending to the last byte. Those that failed are left out.
	Took []time.Duration
}

// CPUPerRequest returns the CPU time of one request in microseconds.
func (r SliceResult) CPUPerRequest() float64 {
	return float64(r.CPU) / float64(time.Microsecond) / float64(r.Requests)
}

// Throughput returns the requests per second.
func (r SliceResult) Throughput() float64 { return float64(r.Requests) / r.Time.Seconds() }

// sliceTimeout is longer than any request takes.
const sliceTimeout = time.Minute

// slicer is one target while its job runs.
type slicer struct {
	stream  Stream
	pids    []int
	request []byte
	conns   []*conn       // of a job without a rate
	lines   pool          // of a job with a rate
	before  time.Duration // CPU time used before the first slice
	result  SliceResult
}

// RunSlices runs the job and returns one result per target.
func RunSlices(ctx context.Context, job SliceJob) ([]SliceResult, error) {
	slicers := make([]*slicer, len(job.Targets))
	for i, target := range job.Targets {
		slicers[i] = newSlicer(target, job)
		defer slicers[i].close()
		if err := slicers[i].open(ctx, job); err != nil {
			return nil, fmt.Errorf("%s: %w", target.Addr, err)
		}
		if err := slicers[i].run(ctx, job.Warmup); err != nil {
			return nil, err
		}
		slicers[i].result = SliceResult{}
	}
	for _, s := range slicers {
		var err error
		if s.before, err = proc.CPU(s.pids); err != nil {
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
			if err := s.run(ctx, job.Slice); err != nil {
				return nil, err
			}
		}
	}
	return sliceResults(slicers)
}

// sliceResults reads the clocks at the end, so that a garbage collection that
// outlasts a slice counts for its process.
func sliceResults(slicers []*slicer) ([]SliceResult, error) {
	results := make([]SliceResult, len(slicers))
	for i, s := range slicers {
		after, err := proc.CPU(s.pids)
		if err != nil {
			return nil, err
		}
		s.result.CPU = after - s.before
		results[i] = s.result
	}
	return results, nil
}

func newSlicer(target SliceTarget, job SliceJob) *slicer {
	stream := Stream{
		Kind: Open, Addr: target.Addr, Path: target.Path, Header: target.Header, Rate: job.Rate, Timeout: sliceTimeout,
	}
	return &slicer{
		stream: stream, pids: target.PIDs, request: stream.request(),
		lines: pool{addr: target.Addr, buffer: job.Buffer},
	}
}

// open opens the connections that are always busy.
func (s *slicer) open(ctx context.Context, job SliceJob) error {
	if job.Rate > 0 {
		return nil
	}
	for range job.Clients {
		c, err := dial(ctx, &net.Dialer{}, s.stream.Addr, job.Buffer)
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
	s.lines.close()
}

// run loads the target for d and adds to its result.
func (s *slicer) run(ctx context.Context, d time.Duration) error {
	if s.stream.Rate > 0 {
		return s.runOpen(ctx, d)
	}
	s.runClosed(ctx, d)
	return nil
}

// runOpen sends requests at the rate of the job and waits for all of them.
func (s *slicer) runOpen(ctx context.Context, d time.Duration) error {
	stream, start := s.stream, time.Now()
	stream.Duration = d
	samples, err := stream.runOver(ctx, start, &s.lines)
	s.result.Time += time.Since(start)
	for _, sample := range samples {
		if !sample.OK() {
			s.result.Failed++
			continue
		}
		s.result.Requests++
		s.result.Took = append(s.result.Took, sample.Took-sample.Late)
	}
	return err
}

// runClosed keeps all connections busy. Each one ends with the answer that it was
// waiting for.
func (s *slicer) runClosed(ctx context.Context, d time.Duration) {
	var (
		clients         sync.WaitGroup
		stop            atomic.Bool
		answers, failed atomic.Int64
	)
	start := time.Now()
	deadline := start.Add(d + sliceTimeout)
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
