package load

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
)

// CrowdJob opens many idle connections, sends one request over each, and
// measures the resources of the target while all of them wait.
type CrowdJob struct {
	Addr     string
	PIDs     []int
	Path     string        // of the requests that have to wait
	FastPath string        // of a route that answers immediately, probed during the wait
	Header   string        // of each waiting request
	Clients  int           //
	Watch    time.Duration // duration of the measurement of the wait, and of the probe after that
}

// CrowdResult has the resources of the target in each phase. Memory is
// resident bytes.
type CrowdResult struct {
	Start    int64         // before the first connection
	Idle     int64         // all connections open, no request sent
	Waiting  int64         // all requests sent, none answered
	After    int64         // all clients have left
	QueueCPU time.Duration // CPU time until all requests wait
	WaitCPU  time.Duration // CPU time during the wait, over the time Watch
	Answered int           // requests that did not wait: rejected or failed
	Fast     []Sample      // probes of FastPath while the others waited
}

// crowd is the state of a CrowdJob while it runs.
type crowd struct {
	job      CrowdJob
	conns    []net.Conn
	answered atomic.Int64 // waiting requests that ended too soon
	leaving  atomic.Bool
	readers  sync.WaitGroup
	result   CrowdResult
}

// RunCrowd runs the job.
func RunCrowd(ctx context.Context, job CrowdJob) (CrowdResult, error) {
	c := &crowd{job: job}
	defer c.leave()
	phases := []func(context.Context) error{c.arrive, c.ask, c.wait, c.probe, c.depart}
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return CrowdResult{}, err
		}
		if err := ctx.Err(); err != nil {
			return CrowdResult{}, fmt.Errorf("crowd: %w", err)
		}
	}
	return c.result, nil
}

func (c *crowd) arrive(ctx context.Context) (err error) {
	if c.result.Start, err = proc.RSS(c.job.PIDs); err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	for range c.job.Clients {
		nc, err := dialer.DialContext(ctx, "tcp", c.job.Addr)
		if err != nil {
			return fmt.Errorf("dialing connection %d: %w", len(c.conns), err)
		}
		c.conns = append(c.conns, nc)
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	c.result.Idle, err = proc.RSS(c.job.PIDs)
	return err
}

func (c *crowd) ask(ctx context.Context) error {
	before, err := proc.CPU(c.job.PIDs)
	if err != nil {
		return err
	}
	if err := c.send(); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	after, err := proc.CPU(c.job.PIDs)
	if err != nil {
		return err
	}
	c.result.QueueCPU = after - before
	c.result.Waiting, err = proc.RSS(c.job.PIDs)
	return err
}

// send sends one request over each connection and counts those that end.
func (c *crowd) send() error {
	stream := Stream{Addr: c.job.Addr, Path: c.job.Path, Header: c.job.Header}
	request := stream.request()
	for i, nc := range c.conns {
		if _, err := nc.Write(request); err != nil {
			return fmt.Errorf("sending request %d: %w", i, err)
		}
		c.readers.Go(func() {
			var one [1]byte
			if _, err := nc.Read(one[:]); err == nil || !c.leaving.Load() {
				c.answered.Add(1)
			}
		})
	}
	return nil
}

func (c *crowd) wait(ctx context.Context) error {
	before, err := proc.CPU(c.job.PIDs)
	if err != nil {
		return err
	}
	rest(ctx, c.job.Watch)
	after, err := proc.CPU(c.job.PIDs)
	c.result.WaitCPU = after - before
	return err
}

func (c *crowd) probe(ctx context.Context) error {
	fast := Stream{
		Kind: Open, Addr: c.job.Addr, Path: c.job.FastPath,
		Rate: 50, Duration: c.job.Watch, Timeout: 5 * time.Second,
	}
	var err error
	c.result.Fast, err = fast.runOpen(ctx, time.Now())
	return err
}

func (c *crowd) depart(ctx context.Context) error {
	c.result.Answered = int(c.answered.Load())
	c.leave()
	if err := c.settle(ctx); err != nil {
		return err
	}
	var err error
	c.result.After, err = proc.RSS(c.job.PIDs)
	return err
}

// leave closes all connections. A second call does nothing.
func (c *crowd) leave() {
	c.leaving.Store(true)
	for _, nc := range c.conns {
		_ = nc.Close() // its request is abandoned, even if close fails
	}
	c.conns = nil
	c.readers.Wait()
}

// settle waits until the target has finished the work of the last phase: until
// its CPU clock nearly stops, or half a minute has passed (a target that polls
// never stops).
func (c *crowd) settle(ctx context.Context) error {
	const (
		period = 500 * time.Millisecond
		still  = 5 * time.Millisecond
	)
	last, err := proc.CPU(c.job.PIDs)
	for range 60 {
		if err != nil {
			return err
		}
		rest(ctx, period)
		before := last
		if last, err = proc.CPU(c.job.PIDs); err == nil && last-before < still {
			return nil
		}
	}
	return err
}
