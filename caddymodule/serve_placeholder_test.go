package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A placeholder has the request's body also behind the directive, and the bytes that it
// has read still reach the upstream.
func TestBodiesInPlaceholders(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }
	const global = "offload {\npool one {\n}\npool two {\n}\n}"
	for name, directives := range map[string]string{
		"spooled":           "offload one",
		"not spooled":       "offload one {\nrequest_spool off\n}",
		"spooled inside":    "offload one {\nrequest_spool off\n}\noffload two",
		"spooled outside":   "offload one\noffload two {\nrequest_spool off\n}",
		"not spooled twice": "offload one {\nrequest_spool off\n}\noffload two {\nrequest_spool off\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := site.ServeGlobal(t, http.HandlerFunc(echo), global, `
			route {
				`+directives+`
				respond /shown "{http.request.body}"
				vars body {http.request.body}
				header X-Body {vars.body}
				reverse_proxy UPSTREAM
			}
			`)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				for _, path := range []string{"/shown", "/proxied"} {
					req, _ := http.NewRequest(http.MethodPost, url+path, strings.NewReader("the body"))
					res, body := site.Do(t, c, req)
					shown := res.Header.Get("X-Body")
					if body != "the body" || (path == "/proxied" && shown != "the body") {
						t.Errorf("%s: got %q, in a placeholder %q", path, body, shown)
					}
				}
			})
		})
	}
}

// Error routes get the whole body of the request, also if a run has read parts of it, so
// that they can send it to another backend.
func TestErrorRoutesGetTheBody(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" && r.Header.Get("X-Again") == "" {
			io.ReadFull(r.Body, make([]byte, 10))
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/hold" {
			blocking(w, r)
			return
		}
		body, _ := readAll(r.Body)
		io.WriteString(w, body)
	}
	const global = "offload {\npool one {\nconcurrency 1\nqueue 0\n}\npool two {\n}\n}"
	for name, directives := range map[string]string{
		"one pool":       "offload one",
		"nested pools":   "offload one\noffload two",
		"spooled inside": "offload two {\nrequest_spool off\n}\noffload one",
	} {
		t.Run(name, func(t *testing.T) {
			s := site.ServeGlobal(t, http.HandlerFunc(echo), global, `
			route {
				`+directives+`
				reverse_proxy /refused 127.0.0.1:1
				reverse_proxy UPSTREAM
			}
			handle_errors {
				request_header X-Again 1
				reverse_proxy UPSTREAM
			}
			`)
			body := strings.Repeat("the body ", 10000)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				for _, path := range []string{"/refused", "/half"} {
					for _, src := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
						req, _ := http.NewRequest(http.MethodPost, url+path, src)
						if res, got := site.Do(t, c, req); res.StatusCode != 200 || got != body {
							t.Errorf("%s: got %d and %d bytes, want %d", path, res.StatusCode, len(got), len(body))
						}
					}
				}
			})
			holdOne(t, s, s.Clients()["h2"], "/hold")
			req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr+"/full", strings.NewReader(body))
			if res, got := site.Do(t, s.Clients()["h2"], req); res.StatusCode != 200 || got != body {
				t.Errorf("rejected: got %d and %d bytes, want %d", res.StatusCode, len(got), len(body))
			}
		})
	}
}
