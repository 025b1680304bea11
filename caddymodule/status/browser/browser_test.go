//go:build integration

package browser

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// scene is a state of the pools.
type scene struct {
	name, pool string
	play       func(s *stage, settle time.Duration)
}

var scenes = []scene{
	{"idle", "search", func(*stage, time.Duration) {}},
	{"overloaded", "exports", func(s *stage, settle time.Duration) {
		s.load("search", 6, 300*time.Millisecond)
		s.load("pay", 3, 500*time.Millisecond)
		s.load("report", 14, 200*time.Millisecond)
		testkit.Pause(settle / 3)
		s.load("export", 24, 400*time.Millisecond)
		s.load("render", 3, time.Second)
		testkit.Pause(settle * 2 / 3)
	}},
	{"broken", "payments", func(s *stage, settle time.Duration) {
		s.load("search", 6, 300*time.Millisecond)
		s.load("pay", 4, 200*time.Millisecond)
		testkit.Pause(settle / 2)
		s.u.broken.Store(true)
		testkit.Pause(settle / 2)
	}},
}

// Pictures of each scene are made in both colour schemes and on two kinds of devices. Each
// page is checked by axe-core, loads nothing from elsewhere and breaks no policy.
func TestPages(t *testing.T) {
	for _, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			settle, folder := 6*time.Second, t.ArtifactDir()
			if *pictures != "" {
				settle = 75 * time.Second // a longer history
			}
			s := newStage(t, body)
			watcher := openTab(t, s.origin(), desktop, "light") // so that there is a history
			watcher.open("/status")
			scene.play(s, settle)
			if *pictures != "" && scene.name == "overloaded" {
				for name, path := range map[string]string{"pools": "/status", "pool": "/status?pool=" + scene.pool} {
					watcher.open(path)
					testkit.Pause(1200 * time.Millisecond) // a frame
					watcher.picture(*pictures, name, false)
				}
			}
			for _, l := range []look{desktop, phone} {
				for _, scheme := range []string{"light", "dark"} {
					tab := openTab(t, s.origin(), l, scheme)
					for title, path := range map[string]string{"pools": "/status", "pool": "/status?pool=" + scene.pool} {
						tab.open(path)
						testkit.Pause(1200 * time.Millisecond) // a frame
						name := strings.Join([]string{scene.name, title, l.name, scheme}, "-")
						tab.checkAccess(name)
						if wide := value[bool](tab, "document.documentElement.scrollWidth > innerWidth"); wide {
							t.Errorf("%s: the page is wider than the screen", name)
						}
						if narrow := value[bool](tab, "[...document.querySelectorAll('.requests .long')].some((cell) => cell.offsetWidth < 120)"); narrow {
							t.Errorf("%s: the requests have a letter in each line", name)
						}
						tab.picture(folder, name, true)
					}
				}
			}
		})
	}
}

func TestThePageIsLive(t *testing.T) {
	s := newStage(t, body)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status")
	state := `tr[data-pool="reports"] [data-f="state"]`
	tab.until(state, "idle")
	value[bool](tab, "window.same = true")
	end := s.load("report", 12, time.Millisecond)
	tab.until(state, "queueing")
	tab.until(`tr[data-pool="reports"] [data-f="running"]`, "3 / 3")
	tab.until(`[data-plot="waiting"] [data-top]`, "up to")
	end()
	tab.until(state, "idle")
	if !value[bool](tab, "window.same === true") {
		t.Error("the page was loaded again")
	}
}

// A reload ends the stream. The page continues with the new configuration, and shows its
// pools.
func TestThePageOutlivesAReload(t *testing.T) {
	s := newStage(t, body)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status")
	s.Load(strings.NewReplacer("name search", "name find", "queue 8", "queue 9").Replace(body))
	tab.until("#pools", "find")
	tab.until(`tr[data-pool="exports"] [data-f="waiting"]`, "0 / 9")
	if text := value[string](tab, `document.querySelector("#pools").textContent`); strings.Contains(text, "search") {
		t.Errorf("the removed pool is still there: %s", text)
	}
}

func TestActionsWork(t *testing.T) {
	s := newStage(t, body)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status?pool=reports")
	tab.do(chromedp.Click(chromedp.CSS(`button[value="pause"]`)))
	tab.until("#message", "Done: pause.")
	tab.until("h1", "paused")
	s.load("report", 2, time.Second)
	tab.until(`[data-list="waiting"] h2`, "Waiting: 2")
	tab.do(chromedp.Click(chromedp.CSS(`[data-list="waiting"] tbody button`)))
	tab.until("#message", "Done: cancel")
	tab.until(`[data-ended="unserved"]`, "An operator cancelled it")
	tab.do(chromedp.Click(chromedp.CSS(`button[value="drain"]`))) // confirmed
	tab.until("h1", "draining")
	tab.do(chromedp.SetValue(chromedp.CSS(`input[name="value"]`), "many"), chromedp.Click(chromedp.CSS(`button[value="set"]`)))
	tab.until("#message", "bad concurrency value 'many'")
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.findings = nil // the browser logs the status of that
}

func TestThePageWorksWithTheKeyboard(t *testing.T) {
	s := newStage(t, body)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status")
	for range 20 {
		tab.do(chromedp.KeyEvent(kb.Tab))
		if value[string](tab, "document.activeElement.textContent") == "exports" {
			break
		}
	}
	if outline := value[string](tab, "getComputedStyle(document.activeElement).outlineStyle"); outline != "solid" {
		t.Errorf("the focus is shown as %s", outline)
	}
	tab.do(chromedp.KeyEvent(kb.Enter))
	tab.until("h1", "exports")
}

func TestFiltersHideRows(t *testing.T) {
	s := newStage(t, body)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status")
	tab.do(chromedp.SendKeys(chromedp.CSS(`[data-filter="pools"]`), "EXP"))
	if shown := value[string](tab, `[...document.querySelectorAll("#pools tr")].filter((r) => !r.hidden).map((r) => r.dataset.pool).join()`); shown != "exports" {
		t.Errorf("shown are %s", shown)
	}
}

func TestThePageWorksWithoutJavaScript(t *testing.T) {
	s := newStage(t, body)
	s.load("report", 12, time.Millisecond)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	testkit.Eventually(t, func() bool {
		tab.do(chromedp.Navigate(s.origin() + "/status"))
		text := run(tab, chromedp.Text(chromedp.CSS("#pools")))
		return strings.Contains(text, "queueing") && strings.Contains(text, "3 / 3")
	})
	tab.picture(t.ArtifactDir(), "without-javascript", true)
}

// No script of a client runs: one that did would open a dialog, which fails the test.
func TestHostileTextsRunNoScript(t *testing.T) {
	const hostile = `<img src=x onerror=alert(1)>'"><script>alert(1)</script>`
	s := newStage(t, strings.Replace(body, "name reports", "name `"+hostile+"`", 1))
	s.load("report/"+url.PathEscape(hostile), 12, time.Millisecond)
	for range 30 {
		s.load("export/"+url.PathEscape(hostile), 1, time.Millisecond)
	}
	tab := openTab(t, s.origin(), desktop, "light")
	for _, path := range []string{"/status", "/status?pool=exports", "/status?pool=" + url.QueryEscape(hostile)} {
		tab.open(path)
		tab.until("main", "<img src=x onerror=alert(1)>")
		testkit.Pause(2500 * time.Millisecond) // frames of the stream
		if n := value[int](tab, `document.querySelectorAll("img, main script, [onerror]").length`); n != 0 {
			t.Errorf("%s: %d elements of a client", path, n)
		}
	}
}

// A large site: the page handles each frame without blocking the browser.
func TestManyPoolsAndWaitersStayFluid(t *testing.T) {
	var many strings.Builder
	many.WriteString("offload_status /status*\n")
	for i := range 200 {
		fmt.Fprintf(&many, "offload /%d/* {\n\tname \"pool %03d\"\n\tconcurrency 1\n\tqueue 2000\n\tmax_wait 10m\n}\n", i, i)
	}
	many.WriteString("reverse_proxy UPSTREAM")
	s := newStage(t, many.String())
	s.load("0", 1, time.Millisecond)
	for range 10 {
		s.load("7", 100, time.Second)
	}
	for path, rows := range map[string]int{"/status": 200, "/status?pool=pool+007": 200} {
		tab := openTab(t, s.origin(), desktop, "light")
		tab.open(path)
		tab.until("main", "9")
		value[bool](tab, `(window.longest = 0, new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.longest = Math.max(window.longest, e.duration)))).observe({ type: "longtask" }), true)`)
		testkit.Pause(8 * time.Second) // frames of the stream
		if n := value[int](tab, `document.querySelectorAll("#pools tr, [data-list] tbody tr").length`); n < rows {
			t.Errorf("%s: %d rows", path, n)
		}
		if longest := value[float64](tab, "window.longest"); longest > 250 {
			t.Errorf("%s: a frame blocks the browser for %.0f ms", path, longest)
		} else {
			t.Logf("%s: the longest task takes %.0f ms (0: below 50)", path, longest)
		}
	}
}
