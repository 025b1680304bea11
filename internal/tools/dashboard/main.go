// Command dashboard checks that every panel of a Grafana dashboard has data. It
// runs the program that publishes the metrics and a real Prometheus that scrapes
// it, and sends the query of each panel to Prometheus. All queries must have data
// within the time limit.
//
//	go run ./internal/tools/dashboard -program bin/observability -prometheus prometheus examples/observability
//
// The folder has the dashboard in grafana/dashboards and the configuration of
// Prometheus in prometheus.yml. Both processes listen on free ports and end with
// the check.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/interrupt"
)

// options has the flags and the folder.
type options struct {
	program, prometheus, folder string
	wait                        time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.program, "program", "", "the `binary` that is scraped")
	flag.StringVar(&o.prometheus, "prometheus", "prometheus", "the `binary` of Prometheus")
	flag.DurationVar(&o.wait, "wait", 2*time.Minute, "how long all queries have for their data")
	flag.Parse()
	o.folder = flag.Arg(0)
	if o.program == "" || o.folder == "" {
		fmt.Fprintln(os.Stderr, "usage: dashboard -program <binary> [-prometheus <binary>] <folder>")
		os.Exit(2)
	}
	interrupt.Main("dashboard", func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) (err error) {
	files, err := filepath.Glob(filepath.Join(o.folder, "grafana/dashboards/*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no dashboard below %s: %w", o.folder, err)
	}
	var queries []query
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading a dashboard: %w", err)
		}
		more, err := queriesOf(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		queries = append(queries, more...)
	}
	s, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	return s.api.await(ctx, queries)
}
