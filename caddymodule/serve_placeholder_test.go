package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A placeholder shows the request's body also behind the directive, and what it has
// read still reaches the upstream.
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
