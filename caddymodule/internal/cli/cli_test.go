package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/top"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestDurationsAreBrief(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "-", 0: "-", 1: "<1ms", time.Millisecond: "1ms", 999 * time.Millisecond: "999ms",
		time.Second: "1.0s", 9400 * time.Millisecond: "9.4s", 10 * time.Second: "10s", 59 * time.Second: "59s",
		time.Minute: "1m00s", 61 * time.Second: "1m01s", time.Hour: "1h00m", 100*time.Hour + time.Minute: "100h01m",
	} {
		if got := admincommand.Brief(d); got != want {
			t.Errorf("%d is %s, want %s", d, got, want)
		}
	}
}

// What a client sends must not move the cursor of an operator, or worse.
func TestTextsAreHarmless(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/a b/ünï☃": "/a b/ünï☃", "\x1b[2J": `\x1b[2J`, "a\nb\tc": `a\nb\tc`, "\u202ertl": `\u202ertl`,
		"\u009b31m": `\u009b31m`,
	} {
		if got := admincommand.Clean(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// Without pools or requests the commands print a sentence, not an empty table.
func TestNothingToShow(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"pools": [], "requests": [], "explanations": []}`)
	}))
	defer server.Close()
	for _, cmd := range Commands() {
		want := map[string]string{
			"pools": "no pools\n", "waiting": "no requests\n", "running": "no requests\n",
			"explain": "no requests: all were served, or nothing is remembered\n",
		}[cmd.Name()]
		if want == "" {
			continue
		}
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"--address", server.Listener.Addr().String()})
		if err := cmd.Execute(); err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v, want %q", cmd.Name(), out.String(), err, want)
		}
	}
}

func TestNotesOfPools(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]pool{
		"":                                {Concurrency: 3, Running: 2},
		"warming up, 1 of 3":              {Concurrency: 3, WarmingUp: 1},
		"warming up, 512":                 {WarmingUp: 512},
		"2 abandoned, 1 lingering":        {Concurrency: 8, Running: 4, Abandoned: 2, Lingering: 1},
		"breaker forced, 3 upgraded":      {BreakerForced: true, Upgraded: 3},
		"warming up, 2 of 8, 1 abandoned": {Concurrency: 8, WarmingUp: 2, Running: 1, Abandoned: 1},
		"newest first, linger 5h (configured off)": {
			NewestFirst: true, Settings: map[string]shownValue{"linger": "5h"}, Overridden: map[string]string{"linger": "off"},
		},
	} {
		if got := p.notes(); got != want {
			t.Errorf("notes are '%s', want '%s'", got, want)
		}
	}
}

// A breaker that lets callers wait is not shown as one that rejects them.
func TestBreakersThatHold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		p           pool
		short, long string
		level       top.Level
	}{
		{pool{Breaker: "open"}, "open", "open", top.Broken},
		{pool{Breaker: "open", HoldEndsIn: 4 * time.Second}, "open", "open, 0 held, for 4.0s at most", top.Broken},
		{pool{Breaker: "open", Waiting: 12, BreakerHeld: 12, HoldEndsIn: 4 * time.Second}, "holding", "open, 12 held, for 4.0s at most", top.Broken},
		{pool{Breaker: "half_open", Waiting: 1, BreakerHeld: 1, HoldEndsIn: time.Second}, "holding", "half_open, 1 held, for 1.0s at most", top.Halted},
		{pool{Breaker: "closed", Concurrency: 8, WarmingUp: 1, Waiting: 12}, "closed", "closed, warming up, 1 of 8", top.Busy},
	} {
		test.p.Phase = phaseOpen
		if short, long := test.p.breakerOrHold(), test.p.breakerState(); short != test.short || long != test.long {
			t.Errorf("%+v is %q and %q", test.p, short, long)
		}
		if got := test.p.shown(); got.State != test.short || got.Level != test.level {
			t.Errorf("%+v is shown as %q, %d", test.p, got.State, got.Level)
		}
	}
}

// The answers of a server are shown as its operator sees them.
func TestPoolsThatHoldAndHaveUpstreams(t *testing.T) {
	t.Parallel()
	const held = `{"name": "reports", "phase": "open", "concurrency": 8, "permits": 8, "waiting": 12, "queue_limit": 100, "oldest_wait_ns": 800000000,
		"breaker": "open", "breaker_held": 12, "breaker_hold_ends_in_ns": 4200000000, "mean_run_ns": 0,
		"upstreams": [{"name": "10.0.0.7:8000", "available": true, "breaker": "closed", "limit": 4, "running": 3, "weight": 4}, {"name": "10.0.0.8:8000\u001b[2J", "available": false, "breaker": "open", "limit": 4, "running": 0, "weight": 1}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/offload/pools" {
			fmt.Fprintf(w, `{"pools": [%s]}`, held)
			return
		}
		fmt.Fprint(w, held)
	}))
	defer server.Close()
	output := func(args ...string) string {
		for _, cmd := range Commands() {
			if cmd.Name() == args[0] {
				var out bytes.Buffer
				cmd.SetOut(&out)
				cmd.SetArgs(append(args[1:], "--address", server.Listener.Addr().String()))
				if err := cmd.Execute(); err != nil {
					t.Error(err)
				}
				return out.String()
			}
		}
		return ""
	}
	for _, list := range []string{"pools", "top"} {
		lines := strings.Split(strings.TrimSpace(output(list)), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "reports ") || !strings.Contains(last, " holding ") {
			t.Errorf("%s: got\n%s", list, strings.Join(lines, "\n"))
		}
	}
	got := output("pool", "reports")
	if !strings.Contains(got, "\nbreaker              open, 12 held, for 4.2s at most\n") {
		t.Errorf("got\n%s", got)
	}
	const table = `
UPSTREAM              AVAILABLE  BREAKER  RUNNING  WEIGHT
10.0.0.7:8000         yes        closed       3/4       4
10.0.0.8:8000\x1b[2J  no         open         0/4       1
`
	if !strings.HasSuffix(got, "\n"+table) {
		t.Errorf("got\n%s, want\n%s", got, table)
	}
}
