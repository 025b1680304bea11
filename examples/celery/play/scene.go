package main

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// The crowd of clients, and the interval of the probe.
const (
	clients     = 100
	each        = 5
	eachWaiting = 25
	probeEvery  = 20 * time.Millisecond
)

// way is with or without offload.
type way struct {
	name     string        // first part of the path
	patience time.Duration // of a client, for one answer
	limit    time.Duration // of the whole run
}

// Without a pool clients may wait without limit, so they give up and the run is
// stopped. With a pool none should have to: these limits are a guard.
var ways = []way{
	{name: "direct", patience: 5 * time.Second, limit: 15 * time.Second},
	{name: "offload", patience: 20 * time.Second, limit: 30 * time.Second},
}

// result is the result of one variant of Caddy with one way to wait for a task.
type result struct {
	Variant   string  `json:"variant"`
	Path      string  `json:"path"`
	Way       string  `json:"way"`
	Requests  int     `json:"requests"`
	WallS     float64 `json:"wall_s"`
	PerSecond float64 `json:"per_second"` // answered ones
	load.Route
	Ping load.Route `json:"ping"`

	mustNotLose bool // the proxy called the task behind offload
}

// play plays one variant on one way, with a new service.
func (s *stack) play(ctx context.Context, v variant, w way) (result, error) {
	stop, err := s.startService(ctx)
	if err != nil {
		return result{}, err
	}
	defer stop()
	c := load.NewClient(w.patience)
	defer c.Close()
	base := "http://" + s.caddy
	if err := load.Ready(ctx, c, base+"/ping"); err != nil {
		return result{}, err
	}
	// The first request waits for new connections, which says nothing about either
	// way.
	c.Fetch(ctx, base+path(v, ways[0]), load.Digest{})

	stopped, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	probe, err := startProbe(ctx, base+s.bystander, w)
	if err != nil {
		return result{}, err
	}
	blocking := load.NewTally()
	finished := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() { s.progress.Watch(finished, blocking, nil) })
	began := time.Now()
	load.Crowd{Clients: clients, Each: v.each(), URL: base + path(v, w), Want: v.want}.Run(stopped, c, blocking)
	wall := time.Since(began)
	close(finished)
	beside.Wait()
	ping, err := probe.end()
	if ctx.Err() != nil {
		return result{}, context.Cause(ctx)
	}
	return newResult(v, w, wall, blocking.Route(), ping), err
}
