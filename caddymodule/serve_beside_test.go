package caddymodule_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A handler in front that does not wait for those behind, as caches do, lets the run
// continue during the rest of its request. The access log then reads a run in progress.
func TestRunsBesideTheirRequest(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	behind := site.HandleBehind(t, func(w http.ResponseWriter, _ *http.Request) error {
		begun <- true
		<-release
		w.WriteHeader(http.StatusAccepted)
		return nil
	})
	ended := make(chan error)
	front := site.HandleInFront(t, func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
		own := context.WithoutCancel(r.Context()) // else the run is cut short if it goes on for a second after its client
		own = context.WithValue(own, caddy.ReplacerCtxKey, caddy.NewReplacer())
		own = context.WithValue(own, caddyhttp.VarsCtxKey, make(map[string]any))
		alone := r.Clone(own)
		go func() { ended <- next.ServeHTTP(httptest.NewRecorder(), alone) }()
		<-begun
		w.WriteHeader(http.StatusGatewayTimeout)
		return http.NewResponseController(w).Flush()
	})
	s, o := serveOperated(t, nil, "route {\n"+front+"\noffload {\n name beside\n }\n offload {\n name inner\n }\n "+behind+"\n}")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 20 {
			res, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			release <- true // its line in the log may be written now
			if err := <-ended; err != nil || res.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("got %d, the run %v", res.StatusCode, err)
			}
			res.Body.Close()
		}
	})
	for _, pool := range []string{"beside", "inner"} {
		if p := o.get("pools/{name}", pool); p["running"] != 0.0 || p["admitted_total"] != 60.0 {
			t.Errorf("the pool is %v", p)
		}
	}
	for _, line := range s.AccessLog(60) {
		if about := line["offload"].(object); about["pool"] != "inner" {
			t.Errorf("logged %v", about)
		}
	}
}
