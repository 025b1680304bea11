package render_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/render"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func result(value string) celery.Result {
	return celery.Result{State: celery.Success, Value: json.RawMessage(value)}
}

// written returns the response as the client receives it.
func written(t *testing.T, r *render.Response) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	if err := r.Write(w); err != nil {
		t.Fatal(err)
	}
	return w.Result()
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`2432902008176640000000`: `2432902008176640000000`,
		`null`:                   `null`,
		`{"b": 1, "a": [1.50]}`:  `{"b": 1, "a": [1.50]}`,
		`{"at": {"__type__": "date", "__value__": "2026-01-31"}}`: `{"at":"2026-01-31"}`,
	} {
		response, err := render.JSON(result(value))
		if err != nil || string(response.Body) != want || response.Status != 200 {
			t.Errorf("%s: got %+v %v", value, response, err)
		}
	}
	if _, err := render.JSON(result("[NaN]")); !errors.Is(err, celery.ErrNotFinite) {
		t.Errorf("NaN: %v", err)
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ value, contentType, body, wantType string }{
		{`"<b>grün</b>"`, "", "<b>grün</b>", "text/plain; charset=utf-8"},
		{`"a"`, "text/csv", "a", "text/csv"},
		{`{"__type__": "bytes", "__value__": "a"}`, "", "a", "application/octet-stream"},
		{`{"__type__": "base64", "__value__": "/wA="}`, "image/png", "\xff\x00", "image/png"},
	} {
		response, err := render.Raw(result(tt.value), tt.contentType)
		if err != nil {
			t.Errorf("%s: %v", tt.value, err)
			continue
		}
		res := written(t, response)
		if got := res.Header.Get("Content-Type"); string(response.Body) != tt.body || got != tt.wantType {
			t.Errorf("%s: got %q of %s", tt.value, response.Body, got)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: browsers may guess its type", tt.value)
		}
	}
	for _, value := range []string{"1", "null", `["a"]`, `{"a": 1}`} {
		if _, err := render.Raw(result(value), ""); !errors.Is(err, render.ErrShape) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		value  string
		status int
		header string // one field
		body   string
	}{
		"nothing said": {`{}`, 200, "Content-Length: 0", ""},
		"all said": {
			`{"status": 201, "headers": {"location": "/a", "content-type": "text/html"}, "body": "<p>"}`,
			201, "Location: /a", "<p>",
		},
		"a set type":          {`{"headers": {"content-type": "text/html"}, "body": "<p>"}`, 200, "Content-Type: text/html", "<p>"},
		"text":                {`{"body": "a"}`, 200, "Content-Type: text/plain; charset=utf-8", "a"},
		"bytes":               {`{"body": {"__type__": "base64", "__value__": "/w=="}}`, 200, "Content-Type: application/octet-stream", "\xff"},
		"another value":       {`{"body": {"a": [1.50]}}`, 200, "Content-Type: application/json", `{"a": [1.50]}`},
		"a number in a field": {`{"headers": {"Age": 7}}`, 200, "Age: 7", ""},
		"several values":      {`{"headers": {"set-cookie": ["a=1", "b=2"]}}`, 200, "Set-Cookie: a=1|b=2", ""},
		"an error":            {`{"status": 404, "body": null}`, 404, "Content-Length: 0", ""},
		"no content":          {`{"status": 204, "headers": null}`, 204, "Content-Length: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, err := render.HTTP(result(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			res := written(t, response)
			field, want, _ := strings.Cut(tt.header, ": ")
			if got := strings.Join(res.Header.Values(field), "|"); res.StatusCode != tt.status || got != want {
				t.Errorf("got %d, %s: %s", res.StatusCode, field, got)
			}
			if string(response.Body) != tt.body {
				t.Errorf("body is %q", response.Body)
			}
		})
	}
}

// A task must not set fields of the proxy.
func TestShapesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`null`, `[]`, `"a"`, `1`,
		`{"status": 200, "cookies": {}}`,
		`{"status": "200"}`, `{"status": 100}`, `{"status": 101}`, `{"status": 199}`, `{"status": 600}`, `{"status": -1}`, `{"status": 200.5}`,
		`{"headers": []}`, `{"headers": "a: b"}`,
		`{"headers": {"": "a"}}`, `{"headers": {"a b": "c"}}`, `{"headers": {"a:": "c"}}`, `{"headers": {"a\r\nb": "c"}}`, `{"headers": {"ä": "c"}}`,
		`{"headers": {"a": "b\r\nset-cookie: c"}}`, `{"headers": {"a": "b\u0000"}}`, `{"headers": {"a": "b\nc"}}`,
		`{"headers": {"a": null}}`, `{"headers": {"a": {"b": "c"}}}`, `{"headers": {"a": true}}`, `{"headers": {"a": [null]}}`, `{"headers": {"a": [["b"]]}}`,
		`{"headers": {"Connection": "close"}}`, `{"headers": {"connection": "close"}}`, `{"headers": {"KEEP-ALIVE": "1"}}`,
		`{"headers": {"Transfer-Encoding": "chunked"}}`, `{"headers": {"content-length": "7"}}`, `{"headers": {"content-length": 7}}`,
		`{"headers": {"Upgrade": "h2c"}}`, `{"headers": {"Trailer": "a"}}`, `{"headers": {"te": "trailers"}}`,
		`{"headers": {"Proxy-Authenticate": "Basic"}}`, `{"headers": {"Proxy-Status": "a"}}`, `{"headers": {"proxy-authentication-info": "a"}}`, `{"headers": {"Alt-Svc": "h3"}}`,
		`{"headers": {"Server": "a"}}`, `{"headers": {"Via": "a"}}`, `{"headers": {"Date": "a"}}`,
		`{"headers": {"X-Accel-Redirect": "/etc/passwd"}}`, `{"headers": {"x-sendfile": "/etc/passwd"}}`,
		`{"headers": {"a": "` + strings.Repeat("b", 65<<10) + `"}}`,
		`{"headers": {"a": [` + strings.Repeat(`"b",`, 200) + `"b"]}}`,
		`{"status": 204, "body": "a"}`, `{"status": 304, "body": {}}`,
	} {
		if response, err := render.HTTP(result(value)); !errors.Is(err, render.ErrShape) {
			t.Errorf("%.80s: got %+v %v", value, response, err)
		}
	}
	if _, err := render.HTTP(result(`{"body": NaN}`)); !errors.Is(err, celery.ErrNotFinite) {
		t.Errorf("NaN: %v", err)
	}
}

// For any result of a task, the response is valid.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte(`{"status": 201, "headers": {"a": ["b", 1]}, "body": {"__type__": "bytes", "__value__": "a"}}`))
	f.Add([]byte(`{"headers": {"connection": "close"}}`))
	f.Add([]byte(`{"body": [1, NaN]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		response, err := render.HTTP(celery.Result{Value: value})
		if err != nil {
			return
		}
		if response.Status < 200 || response.Status > 599 {
			t.Errorf("status %d", response.Status)
		}
		for name, values := range response.Header {
			if !httpguts.ValidHeaderFieldName(name) || strings.EqualFold(name, "connection") {
				t.Errorf("name %q", name)
			}
			for _, value := range values {
				if !httpguts.ValidHeaderFieldValue(value) {
					t.Errorf("value %q", value)
				}
			}
		}
		if err := response.Write(httptest.NewRecorder()); err != nil {
			t.Error(err)
		}
	})
}

func TestProblemsHaveNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	p := render.Problem{Status: 503, Reason: "no_worker"}
	if got := string(p.Encode()); got != `{"title":"Service Unavailable","status":503,"reason":"no_worker"}` {
		t.Errorf("got %s", got)
	}
	res := written(t, p.Response())
	if res.StatusCode != 503 || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
}

func TestWantsEvents(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"":                                     false,
		"*/*":                                  false,
		"text/*":                               false,
		"text/event-stream":                    true,
		"Text/Event-Stream; charset=utf-8":     true,
		"application/json, text/event-stream":  true,
		"text/event-stream;q=0.5, */*":         true,
		"text/event-stream;q=0":                false,
		"text/event-stream; q=x":               false,
		"application/json;a=text/event-stream": false,
	} {
		r := &http.Request{Header: http.Header{"Accept": {accept}}}
		if got := render.WantsEvents(r); got != want {
			t.Errorf("%q: got %t", accept, got)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	events := render.StartEvents(w)
	if err := events.Send("progress", "a", []byte("{\n \"n\": 1\n}")); err != nil {
		t.Fatal(err)
	}
	if !w.Flushed {
		t.Error("the event waits for the next one")
	}
	if err := events.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	if err := events.Send("result", "", []byte(`"a\nb"`)); err != nil {
		t.Fatal(err)
	}
	want := "event: progress\nid: a\ndata: {\"n\":1}\n\n:\n\nevent: result\ndata: \"a\\nb\"\n\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got %q", got)
	}
	if events.Send("result", "", []byte("NaN")) == nil {
		t.Error("what is no JSON was sent")
	}
}

func TestExceptionsAsPythonWritesThem(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`{"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}`: `ValueError('boom')`,
		`{"exc_type": "ValueError", "exc_message": ["boom", 42]}`:                       `ValueError('boom', 42)`,
		`{"exc_type": "ValueError", "exc_message": []}`:                                 `ValueError()`,
		`{"exc_type": "ValueError", "exc_message": "old"}`:                              `ValueError('old')`,
		`{"exc_type": "ValueError"}`:                                                    `ValueError()`,
		`{"exc_type": "E", "exc_message": ["it's"]}`:                                    `E("it's")`,
		`{"exc_type": "E", "exc_message": ["a\\b\n'\""]}`:                               `E('a\\b\n\'"')`,
		`"no exception"`: `"no exception"`,
	} {
		if got := render.Exception(json.RawMessage(value)); got != want {
			t.Errorf("%s: got %s", value, got)
		}
	}
}
