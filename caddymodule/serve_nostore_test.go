package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// sayCacheable are header fields that a site sets for the answers of its backend.
const sayCacheable = `
	header Cache-Control "public, max-age=600"
	header CDN-Cache-Control "max-age=600"
	header Surrogate-Control "max-age=600"`

// wantNoStore checks that no cache may keep an answer.
func wantNoStore(t *testing.T, res *http.Response, status int) {
	t.Helper()
	if res.StatusCode != status {
		t.Errorf("got %d, want %d", res.StatusCode, status)
	}
	if got := strings.Join(res.Header.Values("Cache-Control"), "|"); got != "no-store" {
		t.Errorf("%d has Cache-Control %q", status, got)
	}
	for _, field := range []string{"CDN-Cache-Control", "Surrogate-Control"} {
		if got := res.Header.Get(field); got != "" {
			t.Errorf("%d has %s %q", status, field, got)
		}
	}
}

// Answers that are made here are for this request alone, although the site lets caches
// keep those of its backend.
func TestOwnAnswersAreNotCached(t *testing.T) {
	stuck := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
		switch r.URL.Path {
		case "/quick":
			_, err := io.WriteString(w, "ok")
			return err
		default:
			<-r.Context().Done()
			return r.Context().Err()
		}
	})
	for name, errors := range map[string]string{
		"plainly":                 "",
		"by error routes":         "handle_errors {\n respond \"{err.status_code}\"\n }",
		"nested":                  "",
		"nested, by error routes": "handle_errors {\n respond \"{err.status_code}\"\n }",
	} {
		t.Run(name, func(t *testing.T) {
			outer := ""
			if strings.HasPrefix(name, "nested") {
				outer = "offload {\n name outer\n }"
			}
			s, o := serveOperatedWith(t, nil, "", sayCacheable+`
	route {
		`+outer+`
		offload {
			name own
			request_spool 10 0
			first_byte_timeout 200ms
			on_abandon cancel
			breaker off
		}
		`+stuck+`
	}
	`+errors)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				res, _ := site.Get(t, c, url+"/quick")
				if got := res.Header.Get("Cache-Control"); res.StatusCode != 200 || got != "public, max-age=600" {
					t.Errorf("the backend's answer: %d, Cache-Control %q", res.StatusCode, got)
				}
				res, _ = site.Get(t, c, url+"/hangs")
				wantNoStore(t, res, 504)
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/quick", strings.NewReader("more than ten bytes"))
				res, _ = site.Do(t, c, req)
				wantNoStore(t, res, 413)
				o.post("pools/{name}/drain", "own", `{"wait": "1s"}`)
				res, _ = site.Get(t, c, url+"/quick")
				wantNoStore(t, res, 503)
				req, _ = http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/quick", strings.NewReader("\x00\x00\x00\x00\x00"))
				req.Header.Set("Content-Type", "application/grpc")
				res, _ = site.Do(t, c, req)
				wantNoStore(t, res, statusOfCalls(t))
				o.post("pools/{name}/resume", "own", "")
			})
		})
	}
}

// statusOfCalls is the status of a rejected gRPC call. There is gRPC from HTTP/2 on.
func statusOfCalls(t *testing.T) int {
	if strings.HasSuffix(t.Name(), "/h1") {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// The same holds for answers to runs that do not return, to uploads that break off, and
// to requests that an operator cancels.
func TestOwnAnswersToTroubleAreNotCached(t *testing.T) {
	release := make(chan struct{})
	stubborn := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		<-release
		return nil
	})
	s, o := serveOperatedWith(t, nil, "servers {\n timeouts {\n read_body_idle 200ms\n }\n protocols h1 h2 h2c h3\n }", `
	header Cache-Control "public, max-age=600"
	offload {
		name trouble
		first_byte_timeout 200ms
		max_wait off
		concurrency 1
		breaker off
	}
	`+stubborn)
	c := s.Clients()["h1"] // on later versions a stuck run holds its answer's end
	res, err := c.Get("https://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	wantNoStore(t, res, 504)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		waiting := ask(t, c, url)
		o.untilWaiting("trouble", 1)
		o.post("requests/{id}/cancel", o.only("trouble", "waiting"), "")
		waiting.want(t, 503)
		wantNoStore(t, waiting.res, 503)
		if version := t.Name()[strings.LastIndex(t.Name(), "/")+1:]; version == "h3" {
			return // it knows no read_body_idle
		}
		up := beginUpload(t, c, url)
		up.want(t, 408)
		wantNoStore(t, up.res, 408)
		up.body.Close()
	})
	close(release)
}

// Header fields that the site sets after offload has made such an answer count.
func TestSitesMayHaveOwnAnswersCached(t *testing.T) {
	const said = "private, max-age=5"
	for name, body := range map[string]string{
		"deferred":         "header >Cache-Control \"" + said + "\"\n OFFLOAD",
		"in reject routes": "OFFLOAD\n#\nhandle_reject {\n header Cache-Control \"" + said + "\"\n respond busy 503\n }",
		"in error routes":  "OFFLOAD\n handle_errors {\n header Cache-Control \"" + said + "\"\n respond error\n }",
	} {
		t.Run(name, func(t *testing.T) {
			body, words, _ := strings.Cut(body, "#")
			s, o := serveOperatedWith(t, http.HandlerFunc(echoBody), "",
				strings.Replace(body, "OFFLOAD", "offload {\n name says\n "+words+"\n }\n reverse_proxy UPSTREAM", 1))
			o.post("pools/{name}/drain", "says", `{"wait": "1s"}`)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				res, _ := site.Get(t, c, url)
				if got := strings.Join(res.Header.Values("Cache-Control"), "|"); res.StatusCode != 503 || got != said {
					t.Errorf("got %d, Cache-Control %q", res.StatusCode, got)
				}
			})
		})
	}
}
