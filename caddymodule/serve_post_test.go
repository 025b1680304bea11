package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A POST goes through its pool and comes back. Its coverage is the way of a request, as
// internal/tools/housemap measures it.
func TestOnePost(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}), "offload\nreverse_proxy UPSTREAM")
	res, err := s.Clients()["h1"].Post("https://"+s.Addr, "text/plain", strings.NewReader("there and back"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "there and back" {
		t.Errorf("got %q, %v", body, err)
	}
}
