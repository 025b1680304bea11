package compare

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// Upstreams that fail: the body arrives whole at the one that is tried next.
func TestCompareRetries(t *testing.T) {
	trials := []trial{
		{name: "GET"},
		{name: "HEAD", request: request{method: "HEAD"}},
		{name: "POST", request: post("/", 5000)},
		{name: "a large POST", request: post("/", 300*kib)},
		{name: "POST of unknown length", request: request{method: "POST", body: unsized(5000)}},
		{name: "POST with trailers", request: request{method: "POST", body: unsized(5000), trailers: []string{"X-Sum: 1"}}},
		{name: "PUT", request: request{method: "PUT", body: sized(5000)}},
	}
	answered := func(trials []trial, answer http.HandlerFunc) []trial {
		trials = slices.Clone(trials)
		for i := range trials {
			trials[i].answer = answer
		}
		return trials
	}
	deaf := answered(trials, dropsFirst)
	for i := range deaf {
		deaf[i].normal = forgetUpstream // whether it sees a request without its body is chance
		if deaf[i].body.untold {
			deaf[i].traits = triedAgain
		}
	}
	busy := answered(trials[:5], refusesTwice)

	first := []string{"lb_policy first", "lb_try_duration 5s", "lb_try_interval 1ms", "fail_duration 10ms"}
	anyhow := []string{"lb_retries 2", "lb_try_interval 1ms", "lb_retry_match {", "method GET HEAD POST PUT", "}"}
	on503 := []string{"lb_try_interval 1ms", "lb_retry_match {", "expression `{rp.status_code} == 503`", "}"}
	with := func(words []string, more ...string) string { return proxy("UPSTREAM", append(more, words...)...).body }
	const buffers = "request_buffers 1MB"
	compareRoutes(t, routeTrials{
		"nobody there":                    {proxy("127.0.0.1:1 UPSTREAM", first...).body, trials},
		"nobody there, with buffers":      {proxy("127.0.0.1:1 UPSTREAM", append(first, buffers)...).body, trials[:4]},
		"no answer":                       {with(anyhow), deaf},
		"no answer, with buffers":         {with(anyhow, buffers), answered(trials[2:4], dropsFirst)},
		"another answer":                  {with(on503, buffers, "lb_retries 3"), busy},
		"another answer, without buffers": {with(on503, "lb_retries 3"), busy[:2]},
		"never a good one":                {with(on503, buffers, "lb_retries 1"), busy[:4]},
	})
}

// dropsFirst reads the body of the first request and then sends no answer.
func dropsFirst(w http.ResponseWriter, r *http.Request) {
	if playOf(r.Context()).callsSoFar() < 2 {
		panic(http.ErrAbortHandler)
	}
	says("hello")(w, r)
}

// refusesTwice has no time for the first two requests.
func refusesTwice(w http.ResponseWriter, r *http.Request) {
	call := playOf(r.Context()).callsSoFar()
	if call < 3 {
		answer(503, "later", "X-Try: again")(w, r)
		return
	}
	answer(200, fmt.Sprint("call ", call))(w, r)
}
