//go:build integration

package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// tab is a page in headless Chromium. Its test fails if the page asks another host, logs an
// error, or throws.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	hosts    map[string]bool // that were asked; guarded by mu
	findings []string        // guarded by mu
}

func openTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // it has none for root
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, endBrowser := chromedp.NewContext(allocator)
	t.Cleanup(endBrowser)
	b := &tab{t: t, ctx: ctx, hosts: map[string]bool{}}
	if err := chromedp.Listen(ctx, b.observe); err != nil {
		t.Fatal(err)
	}
	// Without a time limit, since the browser ends with the context of its first action.
	if err := chromedp.Do(ctx, command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{})); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	t.Cleanup(b.check)
	return b
}

// command is an action that sends a command of the protocol.
func command[P, R any](c cdp.Command[P, R], p P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, p)
		return chromedp.Void{}, err
	}
}

func (b *tab) observe(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		to, err := url.Parse(e.Request.URL)
		if err != nil {
			b.findings = append(b.findings, err.Error())
			return
		}
		b.hosts[to.Host] = true
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.findings = append(b.findings, fmt.Sprintf("logged: %s %s", e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventConsoleAPICalled:
		b.findings = append(b.findings, fmt.Sprintf("a call of console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.findings = append(b.findings, "thrown: "+e.ExceptionDetails.Text)
	}
}

// check is for the end of the test.
func (b *tab) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if here := os.Getenv("OFFLOAD_ADDR"); len(b.hosts) != 1 || !b.hosts[here] {
		b.t.Errorf("the page asks %v, want %s alone", b.hosts, here)
	}
	for _, f := range b.findings {
		b.t.Error(f)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// value returns the value of an expression of JavaScript.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// until waits until the element with an ID shows a text.
func (b *tab) until(id, want string) {
	b.t.Helper()
	var last string
	if !testkit.Poll(patience, func() bool {
		last = value[string](b, fmt.Sprintf("document.getElementById(%q)?.textContent ?? ''", id))
		return last == want
	}) {
		b.t.Fatalf("%s is %q, want %q", id, last, want)
	}
}

// The page follows its job from the queue to the result, across reloads while the job waits and
// while it runs.
func TestThePageFollowsItsJob(t *testing.T) {
	e := start(t)
	e.submit(t, "1")
	e.submit(t, "1")
	b := openTab(t)
	b.do(chromedp.Navigate(base()),
		chromedp.SetValue(chromedp.CSS(`input[name="pages"]`), "3"),
		chromedp.Click(chromedp.CSS("#form button")))
	b.until("state", "queued, place 1")
	path := value[string](b, "location.hash")
	if !strings.HasPrefix(path, "#/jobs/") {
		t.Errorf("the address of the page ends with %q", path)
	}
	b.do(chromedp.Reload())
	b.until("state", "queued, place 1")
	e.let("1", 1)
	b.until("state", "running: page 1 of 3")
	e.let("3", 1)
	b.until("state", "running: page 2 of 3")
	b.do(chromedp.Reload())
	b.until("state", "running: page 2 of 3")
	if percent := value[float64](b, "document.getElementById('progress').value"); percent != 33 {
		t.Errorf("the bar is at %v, want 33", percent)
	}
	if again := value[string](b, "location.hash"); again != path {
		t.Errorf("after the reload the page shows %s, before %s", again, path)
	}
	e.let("3", 2)
	b.until("state", "succeeded")
	b.until("result", "page 1: all is well\npage 2: all is well\npage 3: all is well\n")
	if !value[bool](b, "document.getElementById('cancel').hidden && document.getElementById('progress').hidden") {
		t.Error("a job that has ended can be cancelled")
	}
	e.let("1", 1) // the other job ends too
}
