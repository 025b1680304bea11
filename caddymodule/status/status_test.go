package status_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

func TestThePageHasItsNumbersWithoutJavaScript(t *testing.T) {
	s, _ := serve(t, usual)
	s.ask("/report/1")
	s.untilShown("/status", "serving")
	s.ask("/report/2?secret=1")
	text := s.untilShown("/status", "queueing")
	for _, want := range []string{
		`href="?pool=reports"`, `data-f="running">1 / 1<`, `data-f="waiting">1 / 10<`,
		`<noscript><meta http-equiv="refresh"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the page %s", want, text)
		}
	}
	_, text = s.get("/status?pool=reports", http.StatusOK)
	for _, want := range []string{"Waiting: 1", "Running: 1", "GET " + s.Addr + "/report/1", "GET " + s.Addr + "/report/2<", "127.0.0.1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the page of the pool %s", want, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("the page shows a query")
	}
}

// A browser runs and loads nothing but the files of the page.
func TestThePageLoadsNothingButItsFiles(t *testing.T) {
	s, _ := serve(t, usual)
	for _, path := range []string{"/status", "/status/", "/status?pool=reports", "/status?pool=none", "/status?css", "/status?js"} {
		res, _ := site.Get(t, s.c, s.url(path))
		for field, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "same-origin",
			"Cache-Control":           "no-store",
		} {
			if got := res.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", path, field, got, want)
			}
		}
	}
	_, text := s.get("/status?pool=reports", http.StatusOK)
	for _, forbidden := range []string{" style=", "<style", " onclick", " onload", "javascript:", "src=\"/", "src=\"http", "href=\"/", "href=\"http"} {
		if strings.Contains(text, forbidden) {
			t.Errorf("the page has %s", forbidden)
		}
	}
}

// The page and its files refer to each other relative to their own address.
func TestThePageWorksBelowAnyPrefix(t *testing.T) {
	for name, body := range map[string]string{
		"matcher":     "offload_status /a/b*",
		"handle_path": "handle_path /a/b* {\n\toffload_status\n}",
		"handle":      "handle /a/b* {\n\toffload_status\n}",
		"route":       "route /a/b* {\n\toffload_status\n}",
		"the site":    "offload_status",
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, body)
			for _, path := range []string{"/a/b", "/a/b/"} {
				_, text := s.get(path, http.StatusOK)
				for _, file := range []struct{ mark, kind string }{{`href="?css=`, "text/css"}, {`src="?js=`, "text/javascript"}} {
					_, rest, ok := strings.Cut(text, file.mark)
					version, _, _ := strings.Cut(rest, `"`)
					if !ok {
						t.Fatalf("no %s in %s", file.mark, text)
					}
					_, query, _ := strings.Cut(file.mark, "?")
					res, _ := s.get(path+"?"+query+version, http.StatusOK)
					if !strings.HasPrefix(res.Header.Get("Content-Type"), file.kind) {
						t.Errorf("%s is %s", file.mark, res.Header)
					}
					if !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
						t.Errorf("%s of this version is not kept: %s", file.mark, res.Header)
					}
				}
				testkit.Receive(t, s.follow(s.c, path+"?events"))
			}
		})
	}
}

func TestTheSiteProtectsThePage(t *testing.T) {
	s, _ := serve(t, `
offload
offload_status /status*
basic_auth /status* {
	operator $2a$04$5SKz1KdOUn6NUnSXrSZ3q.BZXV3BYsVCrrrGMCvXDW.YLBmR53fAa
}
reverse_proxy UPSTREAM`)
	for _, path := range []string{"/status", "/status?events", "/status?js"} {
		s.get(path, http.StatusUnauthorized)
	}
	if res, _ := s.post("/status", nil); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("an action: got %d", res.StatusCode)
	}
}

// The page is in front of "offload": it takes no permit, also if all requests do.
func TestThePageIsNoRunOfAPool(t *testing.T) {
	s, _ := serve(t, `
offload {
	name all
	concurrency 1
	queue 0
}
offload_status /status*
reverse_proxy UPSTREAM`)
	s.ask("/")
	s.untilShown("/status", `data-f="running">1 / 1<`)
	messages := s.follow(s.c, "/status?events")
	find(t, messages, "pool", `"running":"1 / 1"`)
}

func TestTheStreamFollowsThePools(t *testing.T) {
	s, b := serve(t, usual)
	for version, c := range s.Clients() {
		t.Run(version, func(t *testing.T) {
			messages := s.follow(c, "/status?events")
			find(t, messages, "pool", `"name":"reports"`)
		})
	}
	messages := s.follow(s.c, "/status?events&pool=reports")
	find(t, messages, "detail", `"name":"reports"`)
	s.ask("/report/long")
	find(t, messages, "detail", "/report/long")
	close(b.release)
	find(t, messages, "detail", `"state":"idle"`)
}

// A reload ends the streams of the old configuration, and the end of the process those of
// the last one: Caddy waits for none.
func TestStreamsEndWithTheirConfiguration(t *testing.T) {
	s := newStage(t, site.ServeGlobal(t, http.NotFoundHandler(), "grace_period 1m", usual))
	first := s.follow(s.c, "/status?events")
	find(t, first, "pool", "reports")
	s.Load(strings.Replace(usual, "queue 10", "queue 20", 1))
	for range first { // until it is closed
	}
	second := s.follow(s.c, "/status?events")
	find(t, second, "pool", "0 / 20")
	began := time.Now()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for range second {
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the end has taken %s", took)
	}
}

func TestOtherMethodsAreRejected(t *testing.T) {
	s, _ := serve(t, usual)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, s.url("/status"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, _ := site.Do(t, s.c, req); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("got %d %s", res.StatusCode, res.Header)
	}
	req.Method = http.MethodHead
	req.URL.RawQuery = "events"
	if res, _ := site.Do(t, s.c, req); res.StatusCode != http.StatusOK {
		t.Errorf("HEAD: got %d", res.StatusCode)
	}
}
