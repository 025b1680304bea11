package resource

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// value returns the first value of a field of a stored response.
func value(fields []jobs.Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// quote returns a version as an entity tag.
func quote(version string) string { return `"` + version + `"` }

// matches reports whether a condition with entity tags holds for a tag. Weak tags match as
// strong ones do only in the field If-None-Match (RFC 9110, section 13.1).
func matches(condition []string, tag string, weak bool) bool {
	for _, field := range condition {
		for one := range strings.SplitSeq(field, ",") {
			one = strings.TrimSpace(one)
			if weak {
				one = strings.TrimPrefix(one, "W/")
			}
			if one == "*" || one == tag {
				return true
			}
		}
	}
	return false
}

// setRetryAfter sets the field with whole seconds, 1 at least.
func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(d.Seconds())))))
}

// Bounds of the time between two requests for the state of a job.
const (
	leastPoll = time.Second
	mostPoll  = 30 * time.Second
)

// pollAfter returns when to ask for a job again: at the time of its next attempt, or after a
// time that grows with its age, since a job that has taken long will likely take longer.
func pollAfter(v *jobs.View, now time.Time) time.Duration {
	wait := now.Sub(v.Created) / 8
	if v.State == jobs.RetryWait {
		wait = v.NotBefore.Sub(now)
	}
	return min(max(wait, leastPoll), mostPoll)
}

// timing returns the field Server-Timing: how long the job has waited for its first attempt,
// how long the last attempt took, and the number of attempts.
func timing(v *jobs.View, now time.Time) string {
	began := v.Begun
	if began.IsZero() {
		began = v.Created
	}
	var first, last *jobs.AttemptRecord
	for i := range v.Attempts {
		if a := &v.Attempts[i]; a.Generation == v.Generation {
			last = a
			if first == nil {
				first = a
			}
		}
	}
	if first == nil {
		return "offload-queue;dur=" + milliseconds(now.Sub(began))
	}
	end := last.Ended
	if end.IsZero() {
		end = now
	}
	return "offload-queue;dur=" + milliseconds(first.Began.Sub(began)) +
		", offload-run;dur=" + milliseconds(end.Sub(last.Began)) +
		`, offload-attempts;desc="` + strconv.Itoa(v.Attempt) + `"`
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(max(d, 0).Microseconds())/1000, 'f', -1, 64)
}
