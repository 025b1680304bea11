package deadline_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
)

const year = 366 * 24 * time.Hour

// unreadable stands for a value that is ignored.
const unreadable = -1

func TestFormsOfATime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "0": 0, "007": 7 * time.Second, "2.5": 2500 * time.Millisecond, "0.001": time.Millisecond, " 3\t": 3 * time.Second,
		"1500ms": 1500 * time.Millisecond, "1m30s": 90 * time.Second, "1.5h": 90 * time.Minute, "250us": 250 * time.Microsecond, "0s": 0,
		"2S": 2 * time.Second, "3H": 3 * time.Hour, "4M": 4 * time.Minute, "5u": 5 * time.Microsecond, "6n": 6,
		"5m":       5 * time.Minute, // and not five milliseconds, as in grpc-timeout
		"99999999": year, "9999999999999999999999999999": year, "9999999h": unreadable, "99999999S": year, "1e400": unreadable,
		"": unreadable, "-1": unreadable, "+1": unreadable, "-1s": unreadable, ".5": unreadable, "5.": unreadable, "1.2.3": unreadable,
		"1e3": unreadable, "0x10": unreadable, "NaN": unreadable, "Inf": unreadable, "soon": unreadable, "1 s": unreadable, "1_000": unreadable,
		"999999999n": unreadable, "ms": unreadable, "10,5": unreadable, "٣": unreadable,
	} {
		got, ok := deadline.Parse(text)
		if !ok {
			got = unreadable
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestPreferredWaits(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]time.Duration{
		"wait=10": 10 * time.Second, "wait=0": 0, "Wait = 10": 10 * time.Second, `wait="7"`: 7 * time.Second,
		"return=minimal, wait=5": 5 * time.Second, "return=minimal\nwait=5; foo=bar": 5 * time.Second,
		"wait=5, wait=1":   5 * time.Second, // only the first one counts
		`a="x, wait=1"`:    unreadable,
		`a="\", wait=1"`:   unreadable,
		`a="x",wait=2`:     2 * time.Second,
		"wait=5;wait=1":    5 * time.Second,
		"wait, wait=3":     unreadable,
		"wait=1.5":         unreadable,
		"wait=-1":          unreadable,
		"wait=10s":         unreadable,
		"waiting=10":       unreadable,
		"":                 unreadable,
		",, wait=4,":       4 * time.Second,
		"respond-async":    unreadable,
		"wait=99999999999": year,

		"respond-async, wait=2": unreadable, // the client wants to hear of the work, which may go on
		"wait=2\nRespond-Async": unreadable,
	} {
		h := http.Header{}
		for field := range strings.SplitSeq(fields, "\n") {
			h.Add("Prefer", field)
		}
		got, ok := deadline.PreferredWait(h)
		if !ok {
			got = unreadable
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", fields, got, want)
		}
	}
}

// FuzzParse reads any text without a panic. A time is never negative, and none is above a
// year.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"30", "2.5", "1500ms", "1m30s", "2S", "5m", "-1", "1e9", "9999999h", `wait=3, a="b"`, `"`, "\\"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, ok := deadline.Parse(text); d < 0 || d > year || (!ok && d != 0) {
			t.Errorf("%q: got %v, %v", text, d, ok)
		}
		if d, ok := deadline.PreferredWait(http.Header{"Prefer": {text}}); d < 0 || d > year || (!ok && d != 0) {
			t.Errorf("Prefer %q: got %v, %v", text, d, ok)
		}
	})
}
