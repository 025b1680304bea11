// Command play starts everything that this example consists of - Redis, RabbitMQ,
// a Celery worker, the Sanic service and Caddy - and plays a crowd of 100 clients
// with 5 requests each (25 where they only wait) on every way to wait for a task,
// without offload and with it, while a probe requests /ping at the same time. One table
// shows the results.
//
//	go run ./examples/celery/play                            RabbitMQ, results in Redis
//	go run ./examples/celery/play -broker redis -backend rpc
//	go run ./examples/celery/play -only celery/,tasks/       some of the ways
//	go run ./examples/celery/play -json                      one JSON object
//	go run ./examples/celery/play -serve                     plays nothing, serves until Ctrl-C
//	go run ./examples/celery/play -- command arguments       plays nothing, runs a command meanwhile
//
// Everything listens on free ports of the loopback interface, and all that it
// writes but the Python packages is gone afterwards. It fails if a task that the
// proxy called behind offload was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/interrupt"
	"github.com/caddy-offload/caddy-offload/internal/load"
)

// options are the flags.
type options struct {
	settings

	only        string
	rounds      int
	json, serve bool
	probe       string
	patience    time.Duration
	command     []string
}

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", "rabbitmq", "`server` that takes tasks: rabbitmq or redis")
	flag.StringVar(&o.backend, "backend", "redis", "what keeps results: redis, or `rpc` for replies through the broker")
	flag.StringVar(&o.requirements, "requirements", "requirements.txt", "`file` with the Python packages")
	flag.StringVar(&o.only, "only", "", "comma-separated `beginnings` of routes to play; all without it")
	flag.StringVar(&o.bystander, "bystander", "/ping", "`path` that is asked beside the crowd; Caddy itself answers /hello")
	flag.IntVar(&o.rounds, "rounds", 1, "how often to play everything")
	flag.BoolVar(&o.json, "json", false, "print one JSON object instead of a table")
	flag.BoolVar(&o.serve, "serve", false, "play nothing and serve until Ctrl-C")
	flag.StringVar(&o.probe, "probe", "", "ask this `URL` until the input ends, and print what came of it: what the program does beside itself")
	flag.DurationVar(&o.patience, "patience", 0, "how long -probe waits for an answer")
	flag.Parse()
	o.command = flag.Args()

	interrupt.Main("play", func(ctx context.Context) error { return run(ctx, o) })
}

// run does what the options say.
func run(ctx context.Context, o options) (err error) {
	if o.probe != "" {
		return probe(ctx, o.probe, o.patience)
	}
	variants, err := chosen(o.only)
	if err != nil {
		return err
	}
	progress := load.NewProgress(os.Stderr)
	s, err := startStack(ctx, o.settings, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	switch {
	case o.serve:
		return s.serve(ctx)
	case len(o.command) > 0:
		return s.accompany(ctx, o.command)
	}
	r := &report{Broker: o.broker, Backend: o.backend, Bystander: o.bystander, LoadBefore: machineLoad()}
	for range o.rounds {
		if err := r.play(ctx, s, variants); err != nil {
			return err
		}
	}
	if err := r.print(os.Stdout, o.json); err != nil {
		return err
	}
	if lost := r.lost(); lost > 0 {
		return fmt.Errorf("%w: %d of them", errLost, lost)
	}
	return nil
}

// errLost makes the command fail.
var errLost = errors.New("tasks that the proxy called behind offload were lost")

// chosen returns the variants whose route begins as one of a comma-separated list.
func chosen(beginnings string) ([]variant, error) {
	if beginnings == "" {
		return variants, nil
	}
	var some []variant
	for _, v := range variants {
		for beginning := range strings.SplitSeq(beginnings, ",") {
			if strings.HasPrefix(v.route, strings.TrimPrefix(beginning, "/")) {
				some = append(some, v)
				break
			}
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("no route begins with %q", beginnings)
	}
	return some, nil
}
