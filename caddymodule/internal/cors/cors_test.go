package cors_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
)

func TestIsPreflight(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		fields map[string]string
		length int64
		major  int
		want   bool
	}{
		"a preflight":           {"OPTIONS", map[string]string{"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}, 0, 1, true},
		"of no origin":          {"OPTIONS", map[string]string{"Access-Control-Request-Method": "PUT"}, 0, 1, false},
		"a plain OPTIONS":       {"OPTIONS", map[string]string{"Origin": "https://a.example"}, 0, 1, false},
		"the request itself":    {"PUT", map[string]string{"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}, 0, 1, false},
		"with a body":           {"OPTIONS", map[string]string{"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}, 3, 1, false},
		"with a body in chunks": {"OPTIONS", map[string]string{"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}, -1, 1, false},
		"on HTTP/3":             {"OPTIONS", map[string]string{"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}, -1, 3, true},
	} {
		r := httptest.NewRequest(tt.method, "/", nil)
		r.ContentLength, r.ProtoMajor = tt.length, tt.major
		for field, value := range tt.fields {
			r.Header.Set(field, value)
		}
		if got := cors.IsPreflight(r); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Scripts can read the fields, whatever the site exposes, and in each answer once.
func TestExpose(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.Header
		want   []string // all lines of the field, as a client gets them
	}{
		"to another origin":     {http.Header{}, []string{"Retry-After, X-Id"}},
		"with others":           {http.Header{exposed: {"X-Total"}}, []string{"X-Total", "Retry-After, X-Id"}},
		"once":                  {http.Header{exposed: {"X-Total, retry-after"}}, []string{"X-Total, retry-after", "X-Id"}},
		"once in several lines": {http.Header{exposed: {"retry-after", "X-ID"}}, []string{"retry-after", "X-ID"}},
		"not where all are":     {http.Header{exposed: {"*"}}, []string{"*"}},
		"where * is a name like others": {
			http.Header{exposed: {"*"}, "Access-Control-Allow-Credentials": {"true"}},
			[]string{"*", "Retry-After, X-Id"},
		},
	} {
		cors.Expose(tt.answer, []string{"Retry-After", "X-Id"})
		var got []string
		for _, key := range []string{exposed, "access-control-expose-headers"} {
			got = append(got, tt.answer[key]...)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
		}
	}
}

const exposed = "Access-Control-Expose-Headers"
