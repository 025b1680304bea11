package verdict_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/verdict"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func answered(status int, fields ...string) verdict.Facts {
	f := verdict.Facts{Run: jobhost.Result{Started: true, Sent: true, Complete: true, Status: status}, Header: http.Header{}}
	for i := 0; i < len(fields); i += 2 {
		f.Header.Set(fields[i], fields[i+1])
	}
	return f
}

func failed(change func(*verdict.Facts)) verdict.Facts {
	f := verdict.Facts{Run: jobhost.Result{Started: true, Sent: true}}
	change(&f)
	return f
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	own, err := outcome.ParseStatuses("404")
	if err != nil {
		t.Fatal(err)
	}
	repeatable := func(f verdict.Facts) verdict.Facts {
		f.Repeatable = true
		return f
	}
	listed := func(f verdict.Facts) verdict.Facts {
		f.FailOn = own
		return f
	}
	for name, tt := range map[string]struct {
		facts verdict.Facts
		want  jobs.Verdict
	}{
		"200":                   {answered(200), jobs.Verdict{Class: jobs.Completed}},
		"302":                   {answered(302), jobs.Verdict{Class: jobs.Completed}},
		"404":                   {answered(404), jobs.Verdict{Class: jobs.Declined, Reason: "status_404"}},
		"404 in fail_on":        {listed(repeatable(answered(404))), jobs.Verdict{Class: jobs.Broken, Reason: "status_404"}},
		"429":                   {answered(429, "Retry-After", "7"), jobs.Verdict{Class: jobs.Busy, Reason: "status_429", RetryAfter: 7 * time.Second}},
		"429 without a time":    {answered(429), jobs.Verdict{Class: jobs.Busy, Reason: "status_429"}},
		"503 with a time":       {answered(503, "Retry-After", "2"), jobs.Verdict{Class: jobs.Busy, Reason: "status_503", RetryAfter: 2 * time.Second}},
		"503":                   {answered(503), jobs.Verdict{Class: jobs.Declined, Reason: "status_503"}},
		"503, repeatable":       {repeatable(answered(503)), jobs.Verdict{Class: jobs.Broken, Reason: "status_503"}},
		"501, repeatable":       {repeatable(answered(501)), jobs.Verdict{Class: jobs.Declined, Reason: "status_501"}},
		"500 not in fail_on":    {listed(repeatable(answered(500))), jobs.Verdict{Class: jobs.Declined, Reason: "status_500"}},
		"cut short":             {failed(func(*verdict.Facts) {}), jobs.Verdict{Class: jobs.Broken, Reason: "connection_lost"}},
		"not sent":              {failed(func(f *verdict.Facts) { f.Run.Sent = false }), jobs.Verdict{Class: jobs.NotSent, Reason: "not_reached"}},
		"error of a handler":    {failed(func(f *verdict.Facts) { f.Run.Err = caddyhttp.Error(502, errors.New("x")) }), jobs.Verdict{Class: jobs.Broken, Reason: "status_502"}},
		"run_timeout":           {failed(func(f *verdict.Facts) { f.Run.Reason = requests.RunTimeout }), jobs.Verdict{Class: jobs.Broken, Reason: "run_timeout"}},
		"cancelled":             {failed(func(f *verdict.Facts) { f.Cause = jobs.ErrCancelled }), jobs.Verdict{Class: jobs.Aborted}},
		"attempt_timeout":       {failed(func(f *verdict.Facts) { f.Cause = jobs.ErrAttemptTimeout }), jobs.Verdict{Class: jobs.Broken, Reason: "attempt_timeout"}},
		"total_time":            {failed(func(f *verdict.Facts) { f.Cause = jobs.ErrTotalTime }), jobs.Verdict{Class: jobs.Broken, Reason: "total_time"}},
		"stopping":              {failed(func(f *verdict.Facts) { f.Cause = jobs.ErrStopping }), jobs.Verdict{Class: jobs.Interrupted, Reason: "stopping"}},
		"too large":             {failed(func(f *verdict.Facts) { f.Stored, f.Cause = jobs.ErrTooLarge, jobs.ErrTooLarge }), jobs.Verdict{Class: jobs.TooLarge, Reason: "result_too_large"}},
		"no space":              {failed(func(f *verdict.Facts) { f.Stored, f.Cause = jobs.ErrFull, jobs.ErrFull }), jobs.Verdict{Class: jobs.TooLarge, Reason: "no_space"}},
		"complete, not stored":  {failed(func(f *verdict.Facts) { f.Run.Complete, f.Stored = true, errors.New("x") }), jobs.Verdict{Class: jobs.Broken, Reason: "store_error"}},
		"complete as cancelled": {failed(func(f *verdict.Facts) { *f = answered(200); f.Cause = jobs.ErrCancelled }), jobs.Verdict{Class: jobs.Completed}},
	} {
		if got := tt.facts.Of(time.Now()); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}
