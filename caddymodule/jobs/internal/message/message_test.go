package message_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func names(fields []jobs.Field) (all []string) {
	for _, f := range fields {
		all = append(all, f.Name+"="+f.Value)
	}
	return all
}

func TestFieldsOfRequests(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Accept": {"a", "b"}, "Authorization": {"x"}, "Cookie": {"x"}, "Connection": {"close, X-Hop"}, "X-Hop": {"1"}, "Proxy-Authorization": {"x"},
		"Te": {"trailers"}, "Prefer": {"wait=1"}, "Offload-Job-Id": {"forged"}, "Offload-Attempt": {"9"}, "Content-Length": {"3"}, "Idempotency-Key": {"k"},
		"Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Expect": {"100-continue"},
	}
	want := []string{"Accept=a", "Accept=b", "Idempotency-Key=k"}
	if got := names(message.RequestFields(h, nil)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	want = []string{"Accept=a", "Accept=b", "Authorization=x", "Cookie=x", "Idempotency-Key=k"}
	if got := names(message.RequestFields(h, []string{"Cookie", "Authorization"})); !reflect.DeepEqual(got, want) {
		t.Errorf("with secrets: got %v", got)
	}
}

func TestFieldsOfResponses(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Content-Type": {"text/plain"}, "Set-Cookie": {"a=b"}, "Content-Length": {"3"}, "Connection": {"close"}, "Etag": {`"1"`},
		"Trailer": {"X-Sum"}, "X-Sum": {"7"}, http.TrailerPrefix + "X-Late": {"8"},
	}
	if got := names(message.ResponseFields(h)); !reflect.DeepEqual(got, []string{"Content-Type=text/plain", `Etag="1"`, "X-Sum=7"}) {
		t.Errorf("got %v", got)
	}
	if got := names(message.TrailerFields(h)); !reflect.DeepEqual(got, []string{"X-Late=8", "X-Sum=7"}) {
		t.Errorf("trailers: got %v", got)
	}
	if got := message.Header([]jobs.Field{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}}); !reflect.DeepEqual(got, http.Header{"A": {"1", "2"}}) {
		t.Errorf("header: got %v", got)
	}
}

// A request that was stored is the same one for its upstream, with the fields of its job.
func TestRequestsAreBuiltAgain(t *testing.T) {
	t.Parallel()
	came := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "https://example.com/a%2Fb?c=d", nil)
	came.TLS, came.RemoteAddr = new(tls.ConnectionState), "192.0.2.1:1234"
	came.Header.Set("X-Own", "1")
	came.Header.Set("Traceparent", "00-1-2-01")
	id := jobs.NewID(time.Now())
	for _, repeatable := range []bool{true, false} {
		sending := message.Sending{Request: message.RequestOf(came, nil), ID: id, Repeatable: repeatable, Trace: message.TraceOf(came)}
		r, err := sending.Build(context.Background(), httptest.NewRecorder(), nil)
		if err != nil {
			t.Fatal(err)
		}
		message.Number(r, 3)
		key := ""
		if repeatable {
			key = id.String()
		}
		if r.Method != http.MethodPut || r.URL.EscapedPath() != "/a%2Fb" || r.URL.RawQuery != "c=d" || r.Host != "example.com" || r.TLS == nil ||
			r.RemoteAddr != came.RemoteAddr || r.Header.Get("X-Own") != "1" || r.Header.Get("Offload-Job-Id") != id.String() ||
			r.Header.Get("Offload-Attempt") != "3" || r.Header.Get("Idempotency-Key") != key || r.Header.Get("Traceparent") != "00-1-2-01" {
			t.Errorf("got %v %v %v", r.Method, r.URL, r.Header)
		}
		if r.Context().Value(caddyhttp.VarsCtxKey) == nil {
			t.Error("not prepared for the handlers of Caddy")
		}
	}
	if _, err := (message.Sending{Request: jobs.Request{URI: ":"}}).Build(context.Background(), httptest.NewRecorder(), nil); err == nil {
		t.Error("a bad URI is no error")
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true, "POST": false, "PATCH": false, "LOCK": false} {
		if message.Idempotent(method) != want {
			t.Error(method)
		}
	}
}
