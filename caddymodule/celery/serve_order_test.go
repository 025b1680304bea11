package celery_test

import (
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A directive below celery gets all other requests and no more. Directives that reject requests
// come first.
func TestOrderOfDirectives(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	task := "celery /task* {\n" + l.words() + "task lab.echo\nargs 7\n}\n"
	for _, fallback := range []string{"respond 404", "respond behind 404", "respond * 404", "file_server", "reverse_proxy 127.0.0.1:1"} {
		s := site.Serve(t, nil, fallback+"\n"+task+"error /task/no 403\n")
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			if res, body := site.Get(t, c, url+"/task"); res.StatusCode != 200 || body != "7" {
				t.Errorf("%s: got %d %s", fallback, res.StatusCode, body)
			}
			if res, _ := site.Get(t, c, url+"/task/no"); res.StatusCode != 403 {
				t.Errorf("%s: the rejected request got %d", fallback, res.StatusCode)
			}
			if res, _ := site.Get(t, c, url+"/other"); res.StatusCode < 400 || res.StatusCode == 403 {
				t.Errorf("%s: another request got %d", fallback, res.StatusCode)
			}
		})
	}
}
