package original_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/original"
)

// arrived is a request as Caddy's server prepares it.
func arrived() *http.Request {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/a?b=c", nil)
	r.Header["X-List"] = []string{"1", "2"}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	caddyhttp.SetVar(r.Context(), "kept", "first")
	caddyhttp.SetVar(r.Context(), "removed", "first")
	return r
}

// What handlers have changed is as before, as often as it is restored, and in its place.
func TestRequestsAreRestored(t *testing.T) {
	r := arrived()
	header, url := r.Header, r.URL
	o := original.Of(r)
	for range 2 {
		behind := r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, nil))
		behind.URL.Path, behind.URL.RawQuery = "/changed", "d=e"
		behind.Header["X-List"][0] = "changed"
		behind.Header.Add("X-List", "added")
		behind.Header.Set("X-Added", "1")
		behind.Header.Del("Host")
		caddyhttp.SetVar(behind.Context(), "kept", []int{1}) // not comparable
		caddyhttp.SetVar(behind.Context(), "removed", nil)
		caddyhttp.SetVar(behind.Context(), "added", 1)
		o.Restore(r)
		if got := r.URL.String(); got != "/a?b=c" || r.URL != url {
			t.Errorf("the URL is %s", got)
		}
		if got := header["X-List"]; len(header) != 1 || len(got) != 2 || got[0] != "1" || got[1] != "2" {
			t.Errorf("the header is %v", header)
		}
		for name, want := range map[string]any{"kept": "first", "removed": "first", "added": nil} {
			if got := caddyhttp.GetVar(r.Context(), name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	}
}

// A transport can read the variables while they are restored.
func TestTransportsReadVariablesApart(t *testing.T) {
	r := arrived()
	o := original.Of(r)
	caddyhttp.SetVar(r.Context(), "dial", "here")
	apart := original.Apart(r)
	o.Restore(r)
	if got := caddyhttp.GetVar(apart.Context(), "dial"); got != "here" {
		t.Errorf("it reads %v", got)
	}
	caddyhttp.SetVar(apart.Context(), "dial", "there")
	if got := caddyhttp.GetVar(r.Context(), "dial"); got != nil {
		t.Errorf("it has written %v", got)
	}
}

// A route of a group has its turn again.
func TestGroupsOfRoutesAreRestored(t *testing.T) {
	served := 0
	routes := caddyhttp.RouteList{{Group: "one", Handlers: []caddyhttp.MiddlewareHandler{counter{&served}}}}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := routes.ProvisionHandlers(ctx, nil); err != nil {
		t.Fatal(err)
	}
	chain := routes.Compile(caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	r := arrived()
	o := original.Of(r)
	for n := 1; n <= 2; n++ {
		if err := chain.ServeHTTP(httptest.NewRecorder(), r); err != nil || served != n {
			t.Errorf("served %d times, want %d: %v", served, n, err)
		}
		o.Restore(r)
	}
}

// counter counts its calls.
type counter struct{ n *int }

func (c counter) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	*c.n++
	return next.ServeHTTP(w, r)
}
