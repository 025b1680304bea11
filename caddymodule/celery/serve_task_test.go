package celery_test

import (
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celerytest"
)

func TestResultIsTheAnswer(t *testing.T) {
	l := newLab(t)
	l.work(2, celerytest.Echo)
	s := l.serve("task lab.echo\nargs `{\"who\": \"{query.who}\", \"n\": 2432902008176640000000}`")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url+`/?who=Ann"}`)
		if res.StatusCode != 200 || body != `{"n":2432902008176640000000,"who":"Ann\"}"}` {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
		if got := res.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("type is %q", got)
		}
	})
}
