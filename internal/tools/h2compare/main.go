// Command h2compare plays the conformance cases of h2spec against sites of the
// project's own Caddy that differ in one thing, whether offload stands before the
// reverse proxy, over TLS and in the clear. It prints how many cases passed and
// fails if one fails with offload that passes without.
//
//	go run ./internal/tools/h2compare -caddy bin/caddy -h2spec bin/h2spec
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// timeLimit is for everything; a comparison takes some ten seconds.
const timeLimit = 5 * time.Minute

func main() {
	caddy := flag.String("caddy", "", "the Caddy `binary` to compare with itself")
	h2spec := flag.String("h2spec", "", "the h2spec `binary`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	err := run(ctx, *caddy, *h2spec)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "h2compare:", err)
		os.Exit(1)
	}
}

// run compares over TLS and in the clear. Each case waits for a frame for two
// seconds at most.
func run(ctx context.Context, caddy, h2spec string) error {
	if caddy == "" || h2spec == "" {
		return errors.New("flags -caddy and -h2spec are both needed")
	}
	l, err := newLab(ctx, caddy)
	if err != nil {
		return err
	}
	defer l.close()
	return conformance.Twice(func() ([]string, error) { return compare(ctx, h2spec, l.fronts) })
}

// compare plays all cases against all fronts and returns those that are lost.
func compare(ctx context.Context, h2spec string, fronts []front) ([]string, error) {
	results, err := playAll(ctx, h2spec, fronts)
	if err != nil {
		return nil, err
	}
	var lost []string
	for i, f := range fronts {
		lost = append(lost, conformance.Compare(f.name, results[f.plain], results[i])...)
	}
	return lost, nil
}
