package celery_test

import (
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// Fields that would turn all kwargs into one value are rejected at once. A worker drops such a
// task, and the client would wait for the whole timeout, with its permit.
func TestKwargsThatAreOneValue(t *testing.T) {
	l := newLab(t)
	l.work(1, func(m *celery.Message) [][]byte {
		_, kwargs := bodyOf(t, m)
		return [][]byte{celerytest.Succeed(m, kwargs)}
	})
	for _, tt := range []struct{ words, method, target, body, mediaType string }{
		{"kwargs_from query", "GET", "/?__type__=decimal&__value__=1", "", ""},
		{"kwargs_from query", "GET", "/?__value__=2026-02-03&__type__=date", "", ""},
		{"kwargs_from query", "GET", "/?%5F_type__=uuid&__value__=1&__value__=2", "", ""},
		{"kwargs_from form", "POST", "/", "__type__=bytes&__value__=1", formType},
		{"kwargs_from json", "POST", "/", `{"__type__": "decimal", "__value__": "1"}`, jsonType},
		{"kwargs_from json", "POST", "/", `{"\u005f_type__": "datetime", "__value__": "2026-02-03T04:05:06"}`, jsonType},
		{"kwargs_from query json", "POST", "/?__type__=decimal", `{"__value__": "1"}`, jsonType},
		{"kwargs_from query\nkwargs __type__ decimal", "GET", "/?__value__=1", "", ""},
	} {
		l.serve("task lab.echo\n" + tt.words).EachVersion(func(t *testing.T, c *http.Client, url string) {
			res, body := site.Do(t, c, request(t, tt.method, url+tt.target, tt.body, "Content-Type", tt.mediaType))
			wantProblem(t, res, body, 400, "bad_arguments")
		})
	}
	l.flower("").EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, verb := range []string{"apply", "async-apply", "send-task"} {
			status, got := ask(t, c, "POST", url+"/api/task/"+verb+"/lab.echo", `{"kwargs": {"__type__": "decimal", "__value__": "1"}}`)
			if status != 400 || got["reason"] != "bad_arguments" {
				t.Errorf("%s: got %d %v", verb, status, got)
			}
		}
	})
	l.serve("task lab.echo\nkwargs_from query\nkwargs user ann").EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url+"/?__type__=decimal&__value__=1")
		if want := `{"__type__":"decimal","__value__":"1","user":"ann"}`; res.StatusCode != 200 || body != want {
			t.Errorf("among others: got %d %s", res.StatusCode, body)
		}
	})
}
