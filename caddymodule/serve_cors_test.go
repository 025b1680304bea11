package caddymodule_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// ofOrigin makes a request of a script of another origin.
func ofOrigin(t *testing.T, method, url, asks string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://app.example")
	if asks != "" {
		req.Header.Set("Access-Control-Request-Method", asks)
	}
	return req
}

// A browser may ask whether it may send a request although all permits are taken, and a
// plain OPTIONS is a request like others.
func TestPreflightsOfAFullPool(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	metrics /metrics
	offload /pool/* {
		name preflights
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h2"], "/pool/hold")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for asks, want := range map[string]int{"": 503, "PUT": 200} {
			if res, _ := site.Do(t, c, ofOrigin(t, http.MethodOptions, url+"/pool/next", asks)); res.StatusCode != want {
				t.Errorf("OPTIONS that asks for %q got %d, want %d", asks, res.StatusCode, want)
			}
		}
	})
	m := scrape(t, s)
	if got := m[`run_seconds_count{pool="preflights"}`]; got != 0 {
		t.Errorf("%v runs in the histogram", got)
	}
	if got := m[`preflights{pool="preflights"}`]; got != 0 {
		t.Errorf("%v preflights run at the end", got)
	}
}

// Scripts can read when to come back, wherever the site sets its fields.
func TestRejectionsExposeTheirFieldsToScripts(t *testing.T) {
	const origin, fields = `Access-Control-Allow-Origin "https://app.example"`, `Access-Control-Expose-Headers "X-Total"`
	for name, header := range map[string]string{
		"before":   "header {\n " + origin + "\n " + fields + "\n }",
		"deferred": "header {\n " + origin + "\n " + fields + "\n defer\n }",
		"alone":    "header " + origin,
	} {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(blocking), header+`
	offload {
		name scripts
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
			holdOne(t, s, s.Clients()["h2"], "/hold")
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				res, _ := site.Do(t, c, ofOrigin(t, http.MethodGet, url+"/next", ""))
				exposed := strings.Split(strings.ReplaceAll(strings.Join(res.Header.Values("Access-Control-Expose-Headers"), ","), " ", ""), ",")
				want := []string{"Retry-After", "Retry-After-Ms", "Offload-Request-Id"}
				if name != "alone" {
					want = append(want, "X-Total")
				}
				slices.Sort(exposed)
				slices.Sort(want)
				if res.StatusCode != 503 || !slices.Equal(exposed, want) || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
					t.Errorf("got %d, exposed %q, want %q", res.StatusCode, exposed, want)
				}
			})
		})
	}
}

// The answer to a run that does not return is written while its handler still changes the
// header of the request, so it is not read from that header.
func TestScriptsReadTheAnswerToAStuckRun(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stubborn := site.HandleBehind(t, func(_ http.ResponseWriter, r *http.Request) error {
		for {
			r.Header.Set("X-Busy", "yes")
			r.Header.Del("X-Busy")
			select {
			case <-release:
				return nil
			default:
			}
		}
	})
	s := site.Serve(t, nil, "offload {\n name busyheader\n first_byte_timeout 100ms\n breaker off\n }\n"+stubborn)
	for origin, want := range map[string]bool{"https://script.example": true, "": false} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr, nil)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := s.Clients()["h1"].Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Expose-Headers") != ""; res.StatusCode != 504 || got != want {
			t.Errorf("with origin %q: %d %v", origin, res.StatusCode, res.Header)
		}
	}
}
