// Command wscompare plays the conformance cases of the Autobahn test suite for
// WebSockets against sites of the project's own Caddy that differ in one thing,
// whether offload stands before the reverse proxy. It prints how many cases passed
// and fails if one fails with offload that passes without. The cases of speed are
// left out.
//
//	go run ./internal/tools/wscompare -caddy bin/caddy -kosoku bin/kosoku
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

// timeLimit is for everything; a comparison takes some twenty seconds.
const timeLimit = 5 * time.Minute

func main() {
	caddy := flag.String("caddy", "", "the Caddy `binary` to compare with itself")
	kosoku := flag.String("kosoku", "", "the `program` that plays the cases")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	err := run(ctx, *caddy, *kosoku)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wscompare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, caddy, kosoku string) error {
	if caddy == "" || kosoku == "" {
		return errors.New("flags -caddy and -kosoku are both needed")
	}
	l, err := newLab(ctx, caddy)
	if err != nil {
		return err
	}
	defer l.close()
	return conformance.Twice(func() ([]string, error) { return compare(ctx, kosoku, l.fronts) })
}

// compare plays all cases against all fronts and returns those that are lost.
func compare(ctx context.Context, kosoku string, fronts []front) ([]string, error) {
	results, err := playAll(ctx, kosoku, fronts)
	if err != nil {
		return nil, err
	}
	var lost []string
	for i, f := range fronts {
		lost = append(lost, conformance.Compare(f.name, results[0], results[i])...)
	}
	return lost, nil
}
