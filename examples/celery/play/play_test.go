package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// example is a report of two variants, one of which the proxy answers.
func example() *report {
	threads, directive := variants[6], variants[8]
	ping := load.Route{Completed: 60, Latencies: load.Latencies{P99: 2.5}}
	all := load.Route{Completed: 500, Latencies: load.Latencies{P50: 150, P99: 300}}
	return &report{
		Bystander: "/ping",
		Broker:    "rabbitmq", Backend: "redis", LoadBefore: "0.10 0.20 0.30", LoadAfter: "1.00 0.50 0.40",
		Runs: []result{
			newResult(threads, ways[0], 15*time.Second,
				load.Route{Lost: 500, Errors: map[string]int{load.GaveUp: 200, load.NeverSent: 300}},
				load.Route{Completed: 40, Lost: 2, Latencies: load.Latencies{P99: 5000}}),
			newResult(threads, ways[1], 2*time.Second, all, ping),
			newResult(directive, ways[0], time.Second, all, ping),
			newResult(directive, ways[1], 800*time.Millisecond, all, ping),
		},
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := example().print(&b, false); err != nil {
		t.Fatal(err)
	}
	want := `
100 clients x 5 requests, 25 of those that only wait; broker rabbitmq, results by redis
load of the machine: 0.10 0.20 0.30 before, 1.00 0.50 0.40 after

                                      answered     wall   req/s      p50      p99  /ping p99  lost
delay().get() in threads     direct          0   15.0 s       0        -        -     5.00 s  300 never sent, 200 client gave up, /ping: 2 of 42
                             offload       500   2.00 s     250   150 ms   300 ms     2.5 ms
the celery directive         direct        500   1.00 s     500   150 ms   300 ms     2.5 ms
                             offload       500   800 ms     625   150 ms   300 ms     2.5 ms

The celery directive behind offload answered 500 of 500.
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRoundsAddUp(t *testing.T) {
	t.Parallel()
	threads := variants[6]
	r := &report{Rounds: 3}
	for i, completed := range []int{500, 498, 500} {
		one := load.Route{Completed: completed, Lost: 500 - completed, Latencies: load.Latencies{P50: float64(100 - i), P99: float64(200 + i)}}
		if one.Lost > 0 {
			one.Errors = map[string]int{load.GaveUp: one.Lost}
		}
		ping := load.Route{Completed: 10, Latencies: load.Latencies{P99: float64(i)}}
		r.Runs = append(r.Runs, newResult(threads, ways[0], time.Duration(3-i)*time.Second, one, ping), newResult(threads, ways[1], time.Second, one, ping))
	}
	rows := r.rows()
	if len(rows) != 2 {
		t.Fatalf("%d rows, want one for each way", len(rows))
	}
	got := rows[0]
	if got.Requests != 1500 || got.Completed != 1498 || got.Lost != 2 || got.Errors[load.GaveUp] != 2 || got.Ping.Completed != 30 {
		t.Errorf("sums of %+v", got)
	}
	if got.WallS != 2 || got.P50 != 99 || got.P99 != 201 || got.Ping.P99 != 1 || got.PerSecond != 249 {
		t.Errorf("medians of %+v", got)
	}
	if text := r.rounds(); !strings.Contains(text, "3 rounds") {
		t.Errorf("nobody is told: %q", text)
	}
}

func TestOnlyLossesOfTheProxyBehindOffloadFail(t *testing.T) {
	t.Parallel()
	r := example()
	if r.lost() != 0 {
		t.Errorf("%d lost, although only threads lost any", r.lost())
	}
	r.Runs[2].Lost = 5
	if r.lost() != 0 {
		t.Error("what was lost without offload counts")
	}
	r.Runs[3].Lost = 3
	if r.lost() != 3 || !strings.Contains(r.verdict(), "FAILED: the celery directive behind offload lost 3 of 500") {
		t.Errorf("%d lost: %s", r.lost(), r.verdict())
	}
	r.Runs = r.Runs[:2]
	if r.verdict() != "" {
		t.Errorf("a verdict on what was not played: %s", r.verdict())
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := example().print(&b, true); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Broker string
		Runs   []struct {
			Path, Way string
			Completed int
			Errors    map[string]int
			P99       float64 `json:"p99_ms"`
			Ping      struct {
				P99 float64 `json:"p99_ms"`
			}
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	first, last := got.Runs[0], got.Runs[3]
	if got.Broker != "rabbitmq" || first.Errors[load.GaveUp] != 200 || first.Ping.P99 != 5000 ||
		last.Path != "/offload/tasks/factorial" || last.Completed != 500 || last.P99 != 300 {
		t.Errorf("%+v", got)
	}
}

func TestChosen(t *testing.T) {
	t.Parallel()
	routes := func(some []variant) (routes []string) {
		for _, v := range some {
			routes = append(routes, v.route)
		}
		return routes
	}
	for only, want := range map[string][]string{
		"":              routes(variants),
		"/tasks/":       {"tasks/factorial"},
		"cpu/l,sleep/t": {"sleep/task", "cpu/loop"},
	} {
		got, err := chosen(only)
		if err != nil || !slices.Equal(routes(got), want) {
			t.Errorf("%q chooses %v, %v; want %v", only, routes(got), err, want)
		}
	}
	if _, err := chosen("nothing"); err == nil {
		t.Error("no error for what is not there")
	}
}

func TestEnvironmentOfTheFourCombinations(t *testing.T) {
	t.Parallel()
	a := addresses{redis: "127.0.0.1:1", rabbitmq: "127.0.0.1:2", caddy: "127.0.0.1:3"}
	const rabbit, redis = "amqp://guest:guest@127.0.0.1:2//", "redis://127.0.0.1:1/0"
	for _, c := range []struct{ broker, backend, wantBroker, wantBackend string }{
		{"rabbitmq", "redis", rabbit, redis},
		{"rabbitmq", "rpc", rabbit, "rpc://"},
		{"redis", "redis", redis, redis},
		{"redis", "rpc", redis, "rpc://"},
	} {
		o := settings{broker: c.broker, backend: c.backend}
		env, err := a.environment(o)
		if err := o.check(); err != nil {
			t.Error(err)
		}
		if err != nil || !slices.Contains(env, "CELERY_BROKER="+c.wantBroker) || !slices.Contains(env, "CELERY_BACKEND="+c.wantBackend) {
			t.Errorf("%s and %s: %v, %v", c.broker, c.backend, env, err)
		}
	}
	for _, o := range []settings{{broker: "kafka", backend: "redis"}, {broker: "redis", backend: "memcached"}} {
		if o.check() == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}
