package caddymodule_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/internal/testkit/spans"
)

const traced = `
	route {
		tracing {
			span request
		}
		offload /nested {
			name outer
		}
		offload {
			name inner
			concurrency 1
			queue 0
			first_byte_timeout 2s
			abandon_timeout 1ms
			breaker off
		}
		reverse_proxy UPSTREAM
	}`

// traceparents receives the fields that the upstream got.
var traceparents = make(chan string, 10)

func tracedUpstream(w http.ResponseWriter, r *http.Request) {
	traceparents <- r.Header.Get("Traceparent")
	switch {
	case r.URL.Path == "/hang":
		<-r.Context().Done()
	case r.URL.Path == "/fails":
		w.WriteHeader(500)
	default:
		blocking(w, r)
	}
}

// The wait and the run of a traced request are spans, and the run is the parent of the
// upstream's spans.
func TestSpans(t *testing.T) {
	exported := spans.Keep(t)
	s := site.Serve(t, http.HandlerFunc(tracedUpstream), traced)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	for path, want := range map[string]struct {
		outcome, reason string
		status          codes.Code
	}{
		"/":      {" success", "", codes.Unset},
		"/fails": {" failure", "", codes.Error},
		"/hang":  {" failure", " first_byte_timeout", codes.Error},
	} {
		t.Run(path, func(t *testing.T) {
			site.Get(t, c, url+path)
			taken := exported.Take(t, 3)
			request, wait, run := taken["request"], taken["offload.wait inner"], taken["offload.run inner"]
			if request == nil || wait == nil || run == nil {
				t.Fatalf("got %v", taken)
			}
			if wait.Parent().SpanID() != request.SpanContext().SpanID() || run.Parent().SpanID() != request.SpanContext().SpanID() {
				t.Error("they are no parts of the request")
			}
			if run.StartTime().Before(wait.EndTime()) {
				t.Error("the run begins before the wait has ended")
			}
			if got := <-traceparents; !strings.Contains(got, "-"+run.SpanContext().SpanID().String()+"-") {
				t.Errorf("the upstream got %s, want a part of the run", got)
			}
			if spans.Attribute(run, "offload.outcome") != want.outcome || spans.Attribute(run, "offload.reason") != want.reason || run.Status().Code != want.status {
				t.Errorf("got %v, %v", run.Attributes(), run.Status())
			}
			if len(wait.Attributes()) != 1 {
				t.Errorf("the wait has %v", wait.Attributes())
			}
			testkit.Eventually(t, func() bool { return caddymodule.Running("inner") == 0 })
		})
	}
	t.Run("nested", func(t *testing.T) {
		site.Get(t, c, url+"/nested")
		taken := exported.Take(t, 5)
		outer := taken["offload.run outer"].SpanContext().SpanID()
		if taken["offload.wait inner"].Parent().SpanID() != outer || taken["offload.run inner"].Parent().SpanID() != outer {
			t.Error("the inner ones are no parts of the outer run")
		}
		<-traceparents
	})
	t.Run("rejected", func(t *testing.T) {
		holdOne(t, s, c, "/hold")
		exported.Take(t, 1) // of the wait of that one
		<-traceparents
		site.Get(t, c, url)
		wait := exported.Take(t, 2)["offload.wait inner"]
		if spans.Attribute(wait, "offload.outcome") != " rejected" || spans.Attribute(wait, "offload.reason") != " queue_full" || wait.Status().Code != codes.Error {
			t.Errorf("got %v, %v", wait.Attributes(), wait.Status())
		}
	})
	exported.Take(t, 2) // the rest of the one that was held
}

// Requests that are not sampled, or not traced at all, have no spans, and their
// fields stay as they are.
func TestNoSpans(t *testing.T) {
	exported := spans.Keep(t)
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for name, test := range map[string]struct{ body, flags string }{
		"not traced":  {strings.Replace(traced, "tracing {\n\t\t\tspan request\n\t\t}", "", 1), "01"},
		"not sampled": {traced, "00"},
	} {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(tracedUpstream), test.body)
			req, _ := http.NewRequest(http.MethodGet, "https://"+s.Addr, nil)
			req.Header.Set("Traceparent", "00-"+trace+"-"+span+"-"+test.flags)
			site.Do(t, s.Clients()["h2"], req)
			got := strings.Split(<-traceparents, "-")
			if !slices.Equal([]string{got[1], got[3]}, []string{trace, test.flags}) || (name == "not traced" && got[2] != span) {
				t.Errorf("got %v", got)
			}
		})
	}
	if n := exported.Rest(); n != 0 {
		t.Errorf("%d spans", n)
	}
}
