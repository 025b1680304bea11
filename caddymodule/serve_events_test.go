package caddymodule_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// recorder is a handler of events that keeps them.
type recorder struct{}

var recorded struct {
	sync.Mutex
	events []string
	slow   chan struct{} // blocks the handler, nil for not
	panics bool
}

func init() { caddy.RegisterModule(recorder{}) }

func (recorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.record", New: func() caddy.Module { return new(recorder) }}
}

func (*recorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*recorder) Handle(ctx context.Context, e caddy.Event) error {
	if e.Data["pool"] != "eventful" {
		return nil // of another test, whose pool lives on for a moment
	}
	repl := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	recorded.Lock()
	recorded.events = append(recorded.events, repl.ReplaceAll("{event.name} {event.data.pool} {event.module}", ""))
	slow, panics := recorded.slow, recorded.panics
	recorded.Unlock()
	if slow != nil {
		<-slow
	}
	if panics {
		panic("a handler that fails")
	}
	return nil
}

// records waits for n events and returns those that were recorded since its last call.
func records(t *testing.T, n int) []string {
	t.Helper()
	var events []string
	testkit.Eventually(t, func() bool {
		recorded.Lock()
		defer recorded.Unlock()
		if len(recorded.events) < n {
			return false
		}
		events, recorded.events = recorded.events, nil
		return true
	})
	return events
}

const listens = `
	events {
		on offload.saturated record
		on offload.breaker_opened record
		on offload.breaker_half_opened record
		on offload.breaker_closed record
	}`

const eventful = `
	handle /metrics {
		metrics
	}
	handle {
		offload {
			name eventful
			concurrency 1
			max_wait %s
			breaker {
				consecutive_failures 2
				cool_down 100ms
			}
		}
		reverse_proxy UPSTREAM
	}`

// The events of a pool reach the handlers of the Caddyfile, once each and in
// order, also after reloads.
func TestEvents(t *testing.T) {
	s := site.ServeGlobal(t, http.HandlerFunc(failing), listens, fmt.Sprintf(eventful, "10s"))
	c := s.Clients()["h2"]
	breaks := func() {
		t.Helper()
		for range 2 { // one more would be a probe, if it came late
			heard(t, c, "https://"+s.Addr+"/fails")
		}
		events := records(t, 2)
		testkit.Eventually(t, func() bool {
			res, _ := site.Get(t, c, "https://"+s.Addr)
			return res.StatusCode == 200
		})
		if len(events) < 3 {
			events = append(events, records(t, 3-len(events))...)
		}
		want := []string{
			"offload.breaker_opened eventful offload", "offload.breaker_half_opened eventful offload", "offload.breaker_closed eventful offload",
		}
		if !slices.Equal(events, want) {
			t.Errorf("got %q", events)
		}
	}
	breaks()
	s.Load(fmt.Sprintf(eventful, "9s"))
	breaks()
	holdOne(t, s, c, "/hold")
	for range 3 { // they wait one after the other
		site.Leave(t, c, "https://"+s.Addr, func() {
			testkit.Eventually(t, func() bool { return scrape(t, s)[`waiting{pool="eventful"}`] == 1 })
		})
	}
	if got := records(t, 1); !slices.Equal(got, []string{"offload.saturated eventful offload"}) {
		t.Errorf("got %q", got)
	}
}

// Event handlers that are slow, or that panic, affect no request and no other handler.
func TestEventsOfBadHandlers(t *testing.T) {
	slow := make(chan struct{})
	misbehave := func(slow chan struct{}, panics bool) {
		recorded.Lock()
		defer recorded.Unlock()
		recorded.slow, recorded.panics = slow, panics
	}
	misbehave(slow, true)
	t.Cleanup(func() { misbehave(nil, false) })
	s := site.ServeGlobal(t, http.HandlerFunc(failing), listens, fmt.Sprintf(eventful, "10s"))
	c := s.Clients()["h2"]
	for range 3 {
		if res, _ := site.Get(t, c, "https://"+s.Addr+"/fails"); res.StatusCode == 0 {
			t.Fatal("no answer")
		}
	}
	testkit.Eventually(t, func() bool {
		res, _ := site.Get(t, c, "https://"+s.Addr)
		return res.StatusCode == 200
	})
	records(t, 1)
	close(slow)
	var got []string // the later ones come although the handler of each has panicked
	for len(got) == 0 || got[len(got)-1] != "offload.breaker_closed eventful offload" {
		got = append(got, records(t, 1)...)
	}
}

// Each change of a pool is one line of the log. Rejections are not logged.
func TestPoolLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "caddy.log")
	logs := fmt.Sprintf("log {\n output file %s\n level INFO\n }", file)
	s := site.ServeGlobal(t, http.HandlerFunc(failing), logs, fmt.Sprintf(eventful, "10s"))
	c := s.Clients()["h2"]
	lines := func(n int) []map[string]any {
		t.Helper()
		var all []map[string]any
		testkit.Eventually(t, func() bool {
			all = slices.DeleteFunc(ourLog(file), func(line map[string]any) bool {
				return line["pool"] != "eventful" // a pool of another test may change meanwhile
			})
			return len(all) >= n
		})
		return all
	}
	for range 5 {
		site.Get(t, c, "https://"+s.Addr+"/fails")
	}
	lines(2) // it opens and is half-open after its cool-down
	s.Load(fmt.Sprintf(eventful, "9s"))
	s.Load(fmt.Sprintf(eventful, "9s") + "\nheader X-Other yes")
	s.Load("respond \"nothing\"")
	var got []string
	for i, line := range lines(4) {
		if _, ok := line["cool_down"]; ok != (i == 0) || line["hold"] != nil {
			t.Errorf("the cool-down is %v and the hold %v in line %v", line["cool_down"], line["hold"], line)
		}
		got = append(got, fmt.Sprintf("%s: %s %s %v %v %v", line["level"], line["msg"], line["pool"], line["from"], line["to"], line["by"]))
	}
	want := []string{
		"warn: breaker changed eventful closed open <nil>",
		"info: breaker changed eventful open half_open <nil>",
		"info: pool settings changed eventful map[max_wait:10s] map[max_wait:9s] reload",
		"info: pool removed: admitted requests finish eventful <nil> <nil> <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// ourLog returns the lines of our logger.
func ourLog(file string) []map[string]any {
	return slices.DeleteFunc(site.Lines(file), func(line map[string]any) bool { return line["logger"] != "offload" })
}
