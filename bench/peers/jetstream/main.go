// Command jetstream compares the whole life of a job on this project's engine with the same
// life on JetStream, embedded in the process, with one replica and a sync for each message:
// both promise that an accepted job survives a power cut. A client accepts a job with a body
// of 1 KiB, an executor runs it at once with a result of 1 KiB, and the client waits for its
// end.
//
//	go run . -rounds 9 -clients 32
//
// The engines take turns, and the ratio is the median of those of the rounds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// engine has the whole life of one job, for any number of callers.
type engine interface {
	Cycle(ctx context.Context) error
	Close() error
}

// size of a body and of a result, in bytes.
const size = 1 << 10

// executors run at the same time.
const executors = 64

func main() {
	rounds := flag.Int("rounds", 9, "how many `rounds` each engine has")
	clients := flag.Int("clients", 32, "how many `clients` wait for their jobs at the same time")
	length := flag.Duration("length", 3*time.Second, "the `time` of a round")
	flag.Parse()
	if err := run(context.Background(), *rounds, *clients, *length); err != nil {
		fmt.Fprintln(os.Stderr, "jetstream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, clients int, length time.Duration) error {
	folder, err := os.MkdirTemp("", "jetstream-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	ours, err := openService(ctx, folder+"/bolt")
	if err != nil {
		return err
	}
	defer ours.Close()
	theirs, err := openStream(ctx, folder+"/jetstream")
	if err != nil {
		return err
	}
	defer theirs.Close()
	var a, b, ratios []float64
	for range rounds {
		x, err := measure(ctx, ours, clients, length)
		if err != nil {
			return fmt.Errorf("this project: %w", err)
		}
		y, err := measure(ctx, theirs, clients, length)
		if err != nil {
			return fmt.Errorf("JetStream: %w", err)
		}
		a, b, ratios = append(a, x), append(b, y), append(ratios, x/y)
	}
	fmt.Printf("%d clients: %.0f jobs/s on bbolt, %.0f jobs/s on JetStream R1 with sync, %.2fx (median of %d rounds)\n",
		clients, median(a), median(b), median(ratios), rounds)
	return nil
}

// measure returns the jobs a second of the clients together.
func measure(ctx context.Context, e engine, clients int, length time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	var done atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	began := time.Now()
	for range clients {
		all.Go(func() {
			for time.Since(began) < length {
				if err := e.Cycle(ctx); err != nil {
					once.Do(func() { failed = err })
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), failed
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[len(sorted)/2]
}
