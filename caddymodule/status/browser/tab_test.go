//go:build integration

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// tab is a page in the browser. Its test fails if it loads anything from elsewhere, logs an
// error or a violation of its policy, throws, or opens a dialog.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu       sync.Mutex
	findings []string
}

// look is how a page is looked at.
type look struct {
	name          string
	width, height int64
	scale         float64
	phone         bool
}

var (
	desktop = look{name: "desktop", width: 1280, height: 900, scale: 1}
	phone   = look{name: "phone", width: 390, height: 844, scale: 2, phone: true}
)

func openTab(t *testing.T, origin string, l look, scheme string) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(chromium)
	t.Cleanup(end)
	b := &tab{t: t, ctx: ctx, origin: origin}
	if err := chromedp.Listen(ctx, b.observe); err != nil {
		t.Fatal(err)
	}
	mobile := func(p *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
		p.Mobile = l.phone
	}
	b.do(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}),
		chromedp.EmulateViewport(l.width, l.height, chromedp.EmulateScale(l.scale), mobile),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.findings {
			t.Error(f)
		}
	})
	return b
}

func (b *tab) find(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.findings = append(b.findings, fmt.Sprintf(format, args...))
}

func (b *tab) observe(event any) {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			b.find("a request to %s", e.Request.URL)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Source == log.EntrySourceSecurity {
			b.find("logged: %s %s", e.Entry.Source, e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		b.find("thrown: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
	case *page.EventJavascriptDialogOpening:
		if e.Type != page.DialogTypeConfirm {
			b.find("a dialog: %s", e.Message)
		}
		go func() {
			_ = chromedp.Do(b.ctx, command(page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true}))
		}()
	}
}

// command is an action that sends a command of the protocol.
func command[P, R any](c cdp.Command[P, R], p P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, p)
		return chromedp.Void{}, err
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open loads a page and waits until it is live.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.origin+path), chromedp.WaitVisible(chromedp.CSS(`#connection[data-state="live"]`)))
}

// follow clicks a link and waits for the page that it leads to: until then the browser may
// answer a command with an error.
func (b *tab) follow(selector string) {
	b.t.Helper()
	loaded := func(page.EventLoadEventFired) bool { return true }
	run(b, chromedp.WaitEvent(page.LoadEventFired, loaded, chromedp.Click(chromedp.CSS(selector))))
}

// run runs an action and returns its value.
func run[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// value evaluates an expression of JavaScript.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// until waits until the text of the page, or of an element, has a text.
func (b *tab) until(selector, want string) {
	b.t.Helper()
	var last string
	if !testkit.Poll(20*time.Second, func() bool {
		last = value[string](b, fmt.Sprintf("document.querySelector(%q)?.textContent ?? ''", selector))
		return strings.Contains(last, want)
	}) {
		b.t.Fatalf("%s is %q, want %q", selector, last, want)
	}
}

// checkAccess looks for violations of accessibility with axe-core.
func (b *tab) checkAccess(title string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](axe))
	text := value[string](b, `axe.run(document).then((r) => JSON.stringify(r.violations.map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html + " " + n.failureSummary)}))))`)
	var violations []struct {
		ID, Help string
		Nodes    []string
	}
	if err := json.Unmarshal([]byte(text), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: %s: %s: %s", title, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
	}
}

// picture saves what the tab shows.
func (b *tab) picture(folder, name string, whole bool) {
	b.t.Helper()
	shot := chromedp.CaptureScreenshot()
	if whole {
		shot = chromedp.FullScreenshot(100)
	}
	png := run(b, shot)
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
