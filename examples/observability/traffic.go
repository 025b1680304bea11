package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// kind is one kind of request.
type kind struct {
	share int // of all requests, in percent
	path  string
	body  int           // bytes of an upload
	leave time.Duration // time after which the client leaves, zero for never
	slow  bool          // the client reads slowly
	job   bool          // the client agrees to a job
}

var kinds = []kind{
	{share: 40, path: "/report?delay=100ms"},
	{share: 20, path: "/report?delay=800ms"},
	{share: 10, path: "/report?delay=20ms", body: 200 << 10},
	{share: 5, path: "/report?delay=50ms&size=3000000", slow: true},
	{share: 5, path: "/report?delay=1s", leave: 300 * time.Millisecond},
	{share: 10, path: "/flaky?delay=20ms"},
	{share: 5, path: "/export?delay=50ms", job: true},
	{share: 5, path: "/export?delay=600ms", job: true},
}

const (
	tick       = 60 * time.Millisecond // between two requests
	burst      = 60                    // requests at the same time
	burstEvery = 10 * time.Second
	failEvery  = 20 * time.Second // half of that time the flaky part fails
	slowPause  = 50 * time.Millisecond
	slowPiece  = 64 << 10
)

// traffic sends requests at a steady pace, with bursts, independent of their
// results.
type traffic struct {
	base   string
	client *http.Client
	began  time.Time
	all    sync.WaitGroup
}

func newTraffic(base string) *traffic {
	return &traffic{
		base: base, began: time.Now(),
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
	}
}

// run sends requests until ctx is done, and waits for the open ones.
func (t *traffic) run(ctx context.Context) {
	steady, bursts := time.NewTicker(tick), time.NewTicker(burstEvery)
	defer steady.Stop()
	defer bursts.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-steady.C:
			t.send(ctx, pick(rand.IntN(100)))
		case <-bursts.C:
			for range burst {
				t.send(ctx, kinds[0])
			}
		}
	}
	t.all.Wait()
	t.client.CloseIdleConnections()
}

// pick returns the kind at a position between 0 and 99.
func pick(place int) kind {
	for _, k := range kinds {
		if place -= k.share; place < 0 {
			return k
		}
	}
	return kinds[0]
}

func (t *traffic) send(ctx context.Context, k kind) {
	t.all.Go(func() { _ = t.ask(ctx, k) }) // the metrics have the result
}

func (t *traffic) ask(ctx context.Context, k kind) error {
	if k.leave > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, k.leave)
		defer cancel()
	}
	url := t.base + k.path
	if strings.HasPrefix(k.path, "/flaky") && time.Since(t.began)%failEvery > failEvery/2 {
		url += "&status=500"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(strings.Repeat("x", k.body)))
	if err != nil {
		return err
	}
	if k.job {
		req.Header.Set("Prefer", "respond-async")
	}
	res, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for err == nil {
		_, err = io.CopyN(io.Discard, res.Body, slowPiece)
		if k.slow {
			<-time.After(slowPause)
		}
	}
	return nil
}
