package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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
		if got := brief(d); got != want {
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
		if got := clean(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestTablesAreAligned(t *testing.T) {
	t.Parallel()
	table := newTable("NAME", ">N", "LAST")
	table.add("ünï", "1", "x")
	table.add("a", "1000", "")
	var b strings.Builder
	table.print(&b)
	if want := "NAME     N  LAST\nünï      1  x\na     1000\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// A terminal shows these characters in two columns.
func TestTablesAlignWideCharacters(t *testing.T) {
	t.Parallel()
	table := newTable("NAME", "LAST")
	table.add("生命", "x")
	table.add("abcde", "y")
	var b strings.Builder
	table.print(&b)
	if want := "NAME   LAST\n生命   x\nabcde  y\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestBars(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n, of, want int }{
		{0, 8, 0}, {1, 1000, 1}, {4, 8, 10}, {8, 8, 20}, {9, 8, 20}, {0, 0, 0}, {5, 0, 10},
	} {
		got := bar(test.n, test.of)
		if len(got) != barWidth+2 || strings.Count(got, "#") != test.want {
			t.Errorf("%d of %d is %s", test.n, test.of, got)
		}
	}
}

// screen records the output to a terminal.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// The screen is refreshed with rates, survives a server that is away for a moment,
// is no larger than the terminal, and is left as it was.
func TestTopWatches(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	looks := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		looks++
		if looks == 3 {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"pools": []any{map[string]any{
			"name": "reports", "phase": "paused", "breaker": "closed", "running": 2, "limit": 4, "admitted_total": looks * 1000,
		}}})
	}))
	defer server.Close()
	out := new(screen)
	s := &call{out: out, server: testServer(server)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.watch(ctx, time.Millisecond, func() (int, int) { return 60, 3 }) }()
	deadline := time.After(10 * time.Second)
	for done := false; !done; {
		mu.Lock()
		done = looks > 5
		mu.Unlock()
		select {
		case <-deadline:
			t.Fatal("it does not look again")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.HasPrefix(got, enterScreen+home) || !strings.HasSuffix(got, leaveScreen) {
		t.Errorf("the screen is not entered and left: %q", got)
	}
	for frame := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(got, enterScreen+home), leaveScreen), home) {
		lines := strings.Split(strings.TrimSuffix(frame, clearBelow), "\r\n")
		if len(lines) > 3 {
			t.Errorf("a frame of %d lines: %q", len(lines), frame)
		}
		for _, line := range lines {
			if n := len([]rune(strings.TrimSuffix(line, clearLine))); n > 60 {
				t.Errorf("a line of %d signs: %q", n, line)
			}
		}
	}
	if !strings.Contains(got, "status 502: away") {
		t.Errorf("it does not say that the server is away: %q", got)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := view{now, []pool{{Name: "a", Admitted: 10}, {Name: "reset", Admitted: 10}}}
	after := view{now.Add(2 * time.Second), []pool{{Name: "a", Admitted: 15}, {Name: "reset", Admitted: 1}, {Name: "new"}}}
	for name, want := range map[string]string{"a": "2.5", "reset": "-", "new": "-"} {
		if got := after.rate(before, name, func(p pool) uint64 { return p.Admitted }); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func testServer(s *httptest.Server) server { return server{address: s.Listener.Addr().String()} }

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
		"":                                {Concurrency: 3, Limit: 3, Running: 2},
		"warming up, 1 of 3":              {Concurrency: 3, Limit: 1, WarmingUp: 1},
		"warming up, 512":                 {Limit: 512, WarmingUp: 512},
		"2 abandoned, 1 lingering":        {Concurrency: 8, Limit: 8, Running: 4, Abandoned: 2, Lingering: 1},
		"breaker forced, 3 upgraded":      {BreakerForced: true, Upgraded: 3},
		"warming up, 2 of 8, 1 abandoned": {Concurrency: 8, Limit: 3, WarmingUp: 2, Running: 1, Abandoned: 1},
		"newest first, linger 5h (configured off)": {
			NewestFirst: true, Settings: map[string]shownValue{"linger": "5h"}, Overridden: map[string]string{"linger": "off"},
		},
	} {
		if got := p.notes(); got != want {
			t.Errorf("notes are '%s', want '%s'", got, want)
		}
	}
}
