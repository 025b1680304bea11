package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

const kibibyte = 1 << 10

// serve serves requests until ctx ends, and returns the address.
func serve(ctx context.Context, handler http.Handler) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("serving the upstream: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: handler}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // it ends with ctx
	return l.Addr().String(), nil
}

// piece is what answers are made of.
var piece = make([]byte, 64*kibibyte)

// answer answers with 1 KiB, or with as many bytes as the query has.
func answer(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.RawQuery)
	if err != nil {
		n = kibibyte
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	for n > 0 {
		k := min(n, len(piece))
		if _, err := w.Write(piece[:k]); err != nil {
			return
		}
		n -= k
	}
}

// way is how requests are sent to a target.
type way struct {
	name, target, header string
	status               int
}

// ways that are compared.
var ways = []way{
	{"plain reverse_proxy", "proxy", "", http.StatusOK},
	{"offload without jobs", "offload", "", http.StatusOK},
	{"offload without jobs, again", "offload", "", http.StatusOK},
	{"jobs, clients do not ask", "jobs", "", http.StatusOK},
	{"jobs, answered in time", "jobs", "Prefer: respond-async, wait=10\r\n", http.StatusOK},
	{"jobs, 202 at once", "jobs", "Prefer: respond-async, wait=0\r\n", http.StatusAccepted},
}

// stores is the way that stores jobs. It comes after the rounds of the others, which would pay
// for its writes to the disk.
const stores = 5

// requests compares the throughput of requests with a body of 1 KiB.
func (b *bench) requests(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	upstream, err := serve(ctx, http.HandlerFunc(answer))
	if err != nil {
		return err
	}
	c, err := b.start(ctx, upstream)
	if err != nil {
		return err
	}
	rates, medians := make(map[string][]float64), make(map[string][]float64)
	measure := func(w way) error {
		rate, _, err := b.rate(ctx, c.addrs[w.target], w, 32)
		if err != nil {
			return err
		}
		_, alone, err := b.rate(ctx, c.addrs[w.target], w, 1)
		rates[w.name], medians[w.name] = append(rates[w.name], rate), append(medians[w.name], alone)
		return errors.Join(err, c.drained(ctx))
	}
	var turns []way
	for round := range b.rounds {
		order := slices.Clone(ways[:stores])
		if round%2 == 1 {
			slices.Reverse(order) // so that no way is always measured after the same one
		}
		turns = append(turns, order...)
	}
	turns = append(turns, slices.Repeat(ways[stores:], b.rounds)...)
	b.printf("\nRequests a second: POST of 1 KiB, 32 clients, an upstream that answers at once.\n\n")
	for _, w := range turns {
		if err := measure(w); err != nil {
			return errors.Join(err, c.stop())
		}
	}
	for _, w := range ways {
		b.printf("%-28s %8.0f requests/s, %6.2f ms at p50 for a single client\n", w.name, stat.Median(rates[w.name]), stat.Median(medians[w.name]))
	}
	ratio := func(a, to int) float64 { return stat.Median(stat.Ratios(rates[ways[a].name], rates[ways[to].name])) }
	b.printf("\n")
	b.printf("%-70s %6.2f\n", "offload without jobs, to the same again", ratio(2, 1))
	b.aim("clients that do not ask, to offload without jobs", ratio(3, 1), ">= 0.98", ratio(3, 1) >= 0.98)
	b.aim("answered in time, to offload without jobs", ratio(4, 1), ">= 0.85", ratio(4, 1) >= 0.85)
	b.aim("answered in time, to plain reverse_proxy", ratio(4, 0), ">= 0.85", ratio(4, 0) >= 0.85)
	b.aim("202 at once, to plain reverse_proxy", ratio(stores, 0), ">= 0.35", ratio(stores, 0) >= 0.35)
	later := stat.Median(stat.Differences(medians[ways[4].name], medians[ways[0].name]))
	b.aim("answered in time, p50 of a single client beyond plain, in milliseconds", later, "<= 0.10", later <= 0.1)
	return c.stop()
}

// rate returns the requests a second of clients, and their time at p50 in milliseconds. Each
// request must have the status of its way.
func (b *bench) rate(ctx context.Context, addr string, w way, clients int) (rate, p50 float64, err error) {
	began := time.Now()
	got, err := load.Run(ctx, load.Job{Streams: []load.Stream{{
		Kind: load.Closed, Addr: addr, Path: "/report", Header: w.header, Body: kibibyte, Clients: clients,
		Duration: b.length, Timeout: time.Minute,
	}}})
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", w.name, err)
	}
	times := make([]time.Duration, len(got.Streams[0]))
	for i, s := range got.Streams[0] {
		if s.Status != w.status {
			return 0, 0, fmt.Errorf("%s: a request got status %d, want %d", w.name, s.Status, w.status)
		}
		times[i] = s.Took
	}
	return float64(len(times)) / time.Since(began).Seconds(), stat.Median(stat.Millis(times)), nil
}
