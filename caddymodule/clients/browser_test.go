//go:build integration

package clients

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/caddy-offload/caddy-offload/internal/clients"
	"github.com/caddy-offload/caddy-offload/internal/services"
)

// browser is one of a browser's clients.
type browser struct {
	name    string // as in internal/clients
	client  string // of testdata/page.html
	program program
	methods []string
	long    bool
}

// program opens pages.
type program struct {
	open    func(t *testing.T, urls ...string)
	version func(t *testing.T) string
	// anyCertificate means that it accepts the one of the lab's proxy.
	anyCertificate bool
}

var (
	chromiumProgram = program{openInChromium, versionOf("chromium"), true}
	firefoxProgram  = program{openInFirefox, versionOf("firefox-esr"), false}
)

var browsers = []browser{
	{name: "chromium-fetch", client: "fetch", program: chromiumProgram, methods: []string{http.MethodGet, http.MethodPost}},
	{name: "chromium-events", client: "events", program: chromiumProgram, methods: []string{http.MethodGet}},
	{name: "firefox-fetch", client: "fetch", program: firefoxProgram, methods: []string{http.MethodGet, http.MethodPost}, long: true},
	{name: "firefox-events", client: "events", program: firefoxProgram, methods: []string{http.MethodGet}, long: true},
}

// browsersHere are those that take part.
func browsersHere() []browser {
	var some []browser
	for _, b := range browsers {
		if !b.long || long() {
			some = append(some, b)
		}
	}
	return some
}

func browserNames() []string {
	var list []string
	for _, b := range browsersHere() {
		list = append(list, b.name)
	}
	return list
}

// programsHere are the browsers that take part.
func programsHere() map[string]program {
	list := map[string]program{"Chromium": chromiumProgram}
	if long() {
		list["Firefox"] = firefoxProgram
	}
	return list
}

// chromium is the browser for all tests.
var chromium context.Context

// startChromium starts it.
func startChromium() (end func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // it has none for root
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors", true),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	browser, endBrowser := chromedp.NewContext(allocator)
	if err := chromedp.Do(browser); err != nil {
		return nil, fmt.Errorf("starting Chromium: %w (has .ci/clients been run?)", err)
	}
	chromium = browser
	return func() {
		endBrowser()
		endAllocator()
	}, nil
}

// openInChromium opens a tab for each page.
func openInChromium(t *testing.T, urls ...string) {
	t.Helper()
	for _, url := range urls {
		ctx, end := chromedp.NewContext(chromium)
		t.Cleanup(end)
		err := chromedp.Listen(ctx, func(event any) {
			if e, ok := event.(*runtime.EventExceptionThrown); ok {
				t.Errorf("the page throws: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
			}
		})
		if err == nil {
			err = chromedp.Do(ctx, chromedp.Navigate(url))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// firefoxPrefs keep it from asking for anything but the pages.
const firefoxPrefs = `user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("app.normandy.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("browser.startup.homepage", "about:blank");
`

// openInFirefox starts a Firefox with a tab for each page.
func openInFirefox(t *testing.T, urls ...string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "user.js"), []byte(firefoxPrefs), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"firefox-esr", "--headless", "--no-remote", "--profile", folder}, urls...)
	firefox, err := services.Start(services.Program{Name: "Firefox", Args: args, Log: filepath.Join(folder, "log"), Package: "firefox-esr"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(firefox.Kill)
}

func versionOf(command string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		text, err := exec.Command(command, "--version").Output()
		if err != nil {
			t.Fatalf("%v (has .ci/clients been run?)", err)
		}
		return strings.TrimSuffix(command, "-esr") + " " + versionNumber.FindString(string(text))
	}
}

// browse makes the calls of a browser's client, all in one page.
func (r *record) browse(t *testing.T, p *proxy, b browser) {
	t.Helper()
	p.arrange(t, b.name)
	rows := map[string]clients.Row{}
	var calls []call
	for _, s := range situations {
		for _, method := range b.methods {
			one := call{ID: id(b.name, s, method), Method: method}
			one.URL = s.path(kind{name: b.name}, one.ID)
			if method == http.MethodPost {
				one.Bytes = 7
			}
			calls = append(calls, one)
			rows[one.ID] = clients.Row{Client: b.name, Method: method, Case: s.name, Versions: b.program.version(t)}
		}
	}
	b.program.open(t, pageURL(p.clear+"/page", b.name, b.client, calls))
	for _, got := range p.backend.reports.await(t, b.name) {
		row := rows[got.ID]
		row.Sees = sees(kind{}, got)
		row.GoesOn = got.Error == "comes back"
		r.add(got.ID, row)
	}
}

// Pages see rejections by fetch, also in the middle of an upload, and from another origin.
func TestPagesSeeTheRejection(t *testing.T) {
	pools := "pool page {\nconcurrency 1\nqueue 0\n}\n"
	p := startProxy(t, pools, `header /cross/* {
	Access-Control-Allow-Origin {http.request.header.Origin}
	Access-Control-Allow-Headers content-type
}
@behind path /ask/* /cross/* /hold/page
offload @behind page {
`+held+"\n}")
	p.hold(t, "page", 1)
	accept := map[string]string{"Accept": "application/json"}
	across := map[string]string{"Accept": "application/json", "Content-Type": "application/json"}
	for name, b := range programsHere() {
		t.Run(name, func(t *testing.T) {
			look := func(at string, calls ...call) []seen {
				key := name + "-" + strings.Map(onlyLetters, at)
				b.open(t, pageURL(at+"/page", key, "fetch", calls))
				return p.backend.reports.await(t, key)
			}
			clear := []call{
				{ID: "JSON", URL: p.clear + "/ask/json", Method: http.MethodPost, Bytes: 7, Fields: accept},
				{ID: "upload", URL: p.clear + "/ask/upload", Method: http.MethodPost, Bytes: upload, Fields: accept},
			}
			got := look(p.clear, clear...)
			got = append(got, look(p.other, call{ID: "another origin", URL: p.clear + "/cross/json", Method: http.MethodPost, Bytes: 7, Fields: across})...)
			if b.anyCertificate {
				got = append(got, look(p.secure, call{ID: "upload over HTTP2", URL: p.secure + "/ask/upload2", Method: http.MethodPost, Bytes: upload, Fields: accept})...)
			}
			for _, one := range got {
				t.Run(one.ID, func(t *testing.T) {
					if one.ID == "another origin" { // to which only some fields are exposed
						if one.Status != http.StatusServiceUnavailable || one.Fields["retry-after"] == "" {
							t.Errorf("it sees %+v", one)
						}
						return
					}
					wantRejection(t, kind{}, one, "application/problem+json")
				})
			}
		})
	}
}

func onlyLetters(r rune) rune {
	if strings.ContainsRune("/:.", r) {
		return '-'
	}
	return r
}
