package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// The scene that this project comes from: a number of clients repeatedly
// request a slow route while a probe requests a fast one.
const (
	clients    = 100
	each       = 5
	probeEvery = 20 * time.Millisecond
)

// mode is with or without offload.
type mode struct {
	title    string
	config   []byte
	patience time.Duration // of a client, for one answer
	limit    time.Duration // of the whole run
}

// Without a pool clients would wait for minutes, so they give up and the run
// is stopped. With a pool none should have to: the limits are only a guard,
// and the slowest answer in the table shows that they were not reached.
func modes(config []byte) (unprotected, protected mode, err error) {
	if config, err = discreet(config); err != nil {
		return mode{}, mode{}, err
	}
	plain, err := withoutOffload(config)
	unprotected = mode{title: "without offload", config: plain, patience: 5 * time.Second, limit: 15 * time.Second}
	protected = mode{title: "with offload", config: config, patience: 30 * time.Second, limit: time.Minute}
	return unprotected, protected, err
}

// scene is one upstream with its blocking and its fast route.
type scene struct {
	key, title string
	backend    func() backend
	addr       string        // of the backend
	blocking   string        // URL of the blocking route at Caddy
	fast       string        // URL of the fast route at Caddy
	permits    int           // of the pool in the Caddyfile
	service    time.Duration // of one blocking request on an idle backend
	want       load.Digest   // of the correct answer
}

// ideal is the shortest time for all runs with the given permits.
func (s *scene) ideal() time.Duration {
	return clients * each * s.service / time.Duration(s.permits)
}

// play runs the scene once. Caddy already runs the mode's config; the upstream
// is new, without requests of another run.
func (s *scene) play(ctx context.Context, m mode, p *load.Progress) (res result, err error) {
	p.Say("%s, %s:", capital(s.title), m.title)
	srv, err := start(ctx, s.backend, s.addr)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	c := load.NewClient(m.patience)
	defer c.Close()
	if err := load.Ready(ctx, c, s.fast); err != nil {
		return res, err
	}

	stopped, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	blocking, fast := load.NewTally(), load.NewTally()
	finished := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() { load.Probe{Every: probeEvery, URL: s.fast}.Run(stopped, finished, c, fast) })
	beside.Go(func() { p.Watch(finished, blocking, fast) })
	began := time.Now()
	load.Crowd{Clients: clients, Each: each, URL: s.blocking, Want: s.want}.Run(stopped, c, blocking)
	wall := time.Since(began)
	close(finished)
	beside.Wait()
	if ctx.Err() != nil {
		return res, context.Cause(ctx)
	}
	res = s.result(wall, blocking.Route(), fast.Route())
	p.Say("  %d of %d answered in %s", res.Completed, res.Requests, load.Human(wall))
	return res, nil
}

// result computes the figures.
func (s *scene) result(wall time.Duration, blocking, fast load.Route) result {
	r := result{
		Requests:  clients * each,
		Completed: blocking.Completed,
		Lost:      blocking.Lost,
		Errors:    blocking.Errors,
		Blocking:  blocking.Latencies,
		Fast:      fast,
		Permits:   s.permits,
		ServiceMS: load.Milliseconds(s.service),
		WallS:     thousandths(wall.Seconds()),
		IdealS:    thousandths(s.ideal().Seconds()),
	}
	if r.Completed > 0 {
		r.Ratio = thousandths(wall.Seconds() / s.ideal().Seconds() * float64(r.Requests) / float64(r.Completed))
	}
	return r
}

// thousandths removes meaningless digits.
func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }
