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

// run compares once, and once more if a case was lost. Each case waits for a
// frame for two seconds at most, so on a busy machine one may fail by chance; a
// case that offload breaks is lost both times.
func run(ctx context.Context, caddy, h2spec string) error {
	if caddy == "" || h2spec == "" {
		return errors.New("flags -caddy and -h2spec are both needed")
	}
	l, err := newLab(ctx, caddy)
	if err != nil {
		return err
	}
	defer l.close()
	lost, err := compare(ctx, h2spec, l.fronts)
	if err != nil || len(lost) == 0 {
		return err
	}
	fmt.Println("once more")
	again, err := compare(ctx, h2spec, l.fronts)
	if err != nil {
		return err
	}
	if lost = inBoth(lost, again); len(lost) > 0 {
		return fmt.Errorf("lost twice with offload: %q", lost)
	}
	return nil
}

// compare plays all cases against all fronts and returns those that are lost.
func compare(ctx context.Context, h2spec string, fronts []front) ([]string, error) {
	results, err := playAll(ctx, h2spec, fronts)
	if err != nil {
		return nil, err
	}
	var lost []string
	for i, f := range fronts {
		plain := results[f.plain]
		fmt.Printf("%-28s %d of %d cases passed\n", f.name, results[i].passed(), len(results[i]))
		for _, name := range plain.lostIn(results[i]) {
			fmt.Printf("%-28s lost: %s: %s\n", f.name, name, results[i].reason(name))
			lost = append(lost, f.name+": "+name)
		}
	}
	return lost, nil
}
