package outcome_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// failures returns the statuses that count, of those that a backend may answer with. A
// status above 599 is invalid, but net/http passes it on.
func failures(s outcome.Statuses) (all []int) {
	for status := 100; status < 1000; status++ {
		if s.Failure(status) {
			all = append(all, status)
		}
	}
	return all
}

// between returns the statuses from the first to the last one, without some of them.
func between(first, last int, without ...int) (all []int) {
	for status := first; status <= last; status++ {
		if !slices.Contains(without, status) {
			all = append(all, status)
		}
	}
	return all
}

func TestStatusesThatAreFailures(t *testing.T) {
	t.Parallel()
	server := between(500, 999, 501, 505)
	for text, want := range map[string][]int{
		"":                server,
		"5xx":             server,
		"5xx 501":         between(500, 999, 505),
		"505 5xx 501":     between(500, 999),
		"429":             {429},
		"5xx 429":         slices.Concat([]int{429}, server),
		"4xx":             between(400, 499),
		"4xx 503":         slices.Concat(between(400, 499), []int{503}),
		"4xx 5xx":         slices.Concat(between(400, 499), server),
		" 503   502 404 ": {404, 502, 503},
	} {
		s, err := outcome.ParseStatuses(text)
		if got := failures(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
		again, err := outcome.ParseStatuses(s.String())
		if err != nil || !slices.Equal(failures(again), want) {
			t.Errorf("%q is written as %q, which is %v, %v", text, s, failures(again), err)
		}
	}
	if s := (outcome.Statuses{}); s.String() != "5xx" || !slices.Equal(failures(s), server) {
		t.Errorf("zero is %s", s)
	}
}

func TestStatusesThatAreNone(t *testing.T) {
	t.Parallel()
	const want = ": want codes from 400 to 599, or the classes 4xx and 5xx"
	for text, problem := range map[string]string{
		"600":         "'600'" + want,
		"399":         "'399'" + want,
		"5xx 3xx":     "'3xx'" + want,
		"5XX":         "'5XX'" + want,
		"off":         "'off'" + want,
		"5xx 429 5xx": "'5xx': listed twice",
	} {
		if s, err := outcome.ParseStatuses(text); err == nil || err.Error() != problem || !slices.Equal(failures(s), failures(outcome.Statuses{})) {
			t.Errorf("%s: got %s, %v, want %s", text, s, err, problem)
		}
	}
}

// A call has its outcome by its status of gRPC, and other answers by that of HTTP.
func TestOutcomesOfCallsByStatuses(t *testing.T) {
	t.Parallel()
	s, err := outcome.ParseStatuses("429")
	if err != nil {
		t.Fatal(err)
	}
	call := func(status string) http.Header {
		return http.Header{"Content-Type": {"application/grpc"}, "Grpc-Status": {status}}
	}
	for name, test := range map[string]struct {
		status int
		header http.Header
		want   offloader.Outcome
	}{
		"unavailable":        {200, call("14"), offloader.Failure},
		"exhausted":          {200, call("8"), offloader.Excluded},
		"not found":          {200, call("5"), offloader.Success},
		"listed":             {429, call("0"), offloader.Failure},
		"not listed":         {503, call("0"), offloader.Success},
		"listed, no call":    {429, http.Header{}, offloader.Failure},
		"an answer, no call": {200, http.Header{}, offloader.Success},
	} {
		if got := s.OfCall(test.status, test.header); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestOutcomesOfErrors(t *testing.T) {
	t.Parallel()
	cause := http.ErrHijacked
	for _, test := range []struct {
		err  error
		want offloader.Outcome
	}{
		{cause, offloader.Failure},
		{caddyhttp.Error(http.StatusBadGateway, cause), offloader.Failure},
		{fmt.Errorf("wrapped: %w", caddyhttp.Error(http.StatusNotFound, cause)), offloader.Excluded},
		{caddyhttp.Error(http.StatusNotImplemented, cause), offloader.Success},
	} {
		if got := outcome.OfError(test.err); got != test.want {
			t.Errorf("%v: got %s, want %s", test.err, got, test.want)
		}
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	s, err := outcome.ParseStatuses("5xx 429 404")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { s.OfStatus(http.StatusTeapot) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
