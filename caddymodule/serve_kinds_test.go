package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// client is a kind of client, by the fields of its requests.
type client map[string]string

var (
	anyProgram  = client{"Accept": "*/*"}
	aBrowser    = client{"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}
	aBrowserOf  = client{"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"} // in the clear, or an old one
	aScript     = client{"Accept": "application/json, text/plain, */*", "Sec-Fetch-Mode": "cors"}
	eventSource = client{"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors", "Cache-Control": "no-cache"}
	aCall       = client{"Content-Type": "application/grpc", "Te": "trailers"}
)

// asks sends a request as this kind of client does.
func (k client) asks(t *testing.T, c *http.Client, method, url string) (*http.Response, string) {
	t.Helper()
	return site.Do(t, c, k.request(t, method, url))
}

func (k client) request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	body := ""
	if method == http.MethodPost {
		body = "sent"
	}
	return k.requestWith(t, method, url, body)
}

func (k client) requestWith(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range k {
		req.Header.Set(name, value)
	}
	return req
}

// hostile is in a path and a query, and must be in no answer.
const hostile = "/%3Cscript%3Ealert(%22intruder%22)%3C/script%3E?intruder=%22%3E%3Cimg%20src=x%3E"

// Each kind of client learns of a rejection in the way that it understands, on each version
// of HTTP. The other fields are the same for all.
func TestRejectionsByKindOfClient(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	header Content-Security-Policy "default-src 'self'"
	offload {
		name kinds
		concurrency 1
		queue 0
		reject_status 429
		proxy_status_name edge
		server_timing
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h2"], "/hold-kinds")
	for name, tt := range map[string]struct {
		client  client
		method  string
		status  int
		content string
		refresh bool
		body    string // its beginning
	}{
		"a program":           {client: anyProgram, method: "GET", status: 429, content: "text/plain; charset=utf-8", body: "Too Many Requests\n"},
		"HEAD of a program":   {client: anyProgram, method: "HEAD", status: 429, content: "text/plain; charset=utf-8"},
		"a page":              {client: aBrowser, method: "GET", status: 429, content: "text/html; charset=utf-8", refresh: true, body: "<!DOCTYPE html>"},
		"a page in the clear": {client: aBrowserOf, method: "GET", status: 429, content: "text/html; charset=utf-8", refresh: true, body: "<!DOCTYPE html>"},
		"HEAD of a page":      {client: aBrowserOf, method: "HEAD", status: 429, content: "text/html; charset=utf-8", refresh: true},
		"a form":              {client: aBrowser, method: "POST", status: 429, content: "text/html; charset=utf-8", body: "<!DOCTYPE html>"},
		"a script":            {client: aScript, method: "POST", status: 429, content: "application/problem+json", body: "{"},
		"an EventSource":      {client: eventSource, method: "GET", status: 200, content: "text/event-stream", body: "retry: "},
	} {
		t.Run(name, func(t *testing.T) {
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				res, body := tt.client.asks(t, c, tt.method, url+hostile)
				h := res.Header
				if res.StatusCode != tt.status || h.Get("Content-Type") != tt.content || !strings.HasPrefix(body, tt.body) || (body == "") != (tt.method == "HEAD") {
					t.Errorf("got %d %s %q", res.StatusCode, h.Get("Content-Type"), body)
				}
				if length, err := strconv.Atoi(h.Get("Content-Length")); err != nil || (tt.method != "HEAD" && length != len(body)) || length == 0 {
					t.Errorf("Content-Length %q of %d bytes", h.Get("Content-Length"), len(body))
				}
				after, err := strconv.Atoi(h.Get("Retry-After"))
				if err != nil || after < 1 || after > 60 {
					t.Errorf("Retry-After %q", h.Get("Retry-After"))
				}
				if want := map[bool]string{true: h.Get("Retry-After")}[tt.refresh]; h.Get("Refresh") != want {
					t.Errorf("Refresh %q, want %q", h.Get("Refresh"), want)
				}
				if h.Get("Proxy-Status") != `edge;error=connection_limit_reached;details="queue_full"` ||
					!requestID.MatchString(h.Get("Offload-Request-Id")) || h.Get("Cache-Control") != "no-store" ||
					!strings.HasPrefix(h.Get("Server-Timing"), "offload_wait;") || h.Get("X-Should-Retry") != "" || h.Get("Vary") != "" {
					t.Errorf("got %v", h)
				}
				if own := strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; "); own != strings.HasPrefix(tt.content, "text/html") {
					t.Errorf("Content-Security-Policy %q", h.Get("Content-Security-Policy"))
				}
				if all := fmt.Sprint(h) + body; strings.Contains(all, "intruder") || strings.Contains(all, "script") {
					t.Errorf("the request is in its answer: %s", all)
				}
			})
		})
	}
}

// problemDetails are those of an answer.
type problemDetails struct {
	Type, Title, Detail, Reason, ID string
	Status                          int
	After                           int `json:"retry_after"`
	AfterMs                         int `json:"retry_after_ms"`
}

// checkProblem returns the problem in an answer, which must agree with its head.
func checkProblem(t *testing.T, res *http.Response, body string) (p problemDetails) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	if p.Type != "about:blank" || p.Status != res.StatusCode || p.Title != http.StatusText(res.StatusCode) || p.Detail == "" || p.ID != res.Header.Get("Offload-Request-Id") {
		t.Errorf("got %+v with %v", p, res.Header)
	}
	after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	if p.After != after || (p.AfterMs > 0) != (after > 0) || p.AfterMs > after*1000 {
		t.Errorf("got %+v with %v", p, res.Header)
	}
	return p
}

// What a script gets is a problem by RFC 9457, for each reason with the numbers of the head.
func TestProblemsOfRejections(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(upstreamOf), `
	offload {
		name problems
		request_spool 10 0
		first_byte_timeout 100ms
		abandon_timeout 100ms
		timeout_status 500
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		problem := func(res *http.Response, body string) problemDetails {
			t.Helper()
			return checkProblem(t, res, body)
		}
		late := problem(aScript.asks(t, c, "GET", url+"/hang"))
		large := problem(site.Do(t, c, aScript.requestWith(t, "PUT", url, "more than ten bytes")))
		o.post("pools/{name}/drain", "problems", `{"wait": "1s"}`)
		drained := problem(aScript.asks(t, c, "GET", url))
		o.post("pools/{name}/resume", "problems", "")
		if late.Reason != "first_byte_timeout" || late.Status != 500 || late.After != 0 ||
			large.Reason != "body_too_large" || large.Status != 413 || large.After != 0 ||
			drained.Reason != "draining" || drained.Status != 503 || drained.After == 0 {
			t.Errorf("got %+v, %+v, %+v", late, large, drained)
		}
	})
}

// A run that has timed out may go on: no program shall send its request again unasked. The
// status is the route's, and no kind of client is asked to come back.
func TestTimeoutsByKindOfClient(t *testing.T) {
	for words, status := range map[string]int{
		"first_byte_timeout": 504, "run_timeout": 504, "first_byte_timeout as 500": 500, "run_timeout as 422": 422,
	} {
		timeout, as, _ := strings.Cut(words, " as ")
		if as != "" {
			as = "timeout_status " + as
		}
		t.Run(words, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(upstreamOf), `
	offload {
		name late
		`+timeout+` 30ms
		abandon_timeout 100ms
		proxy_status_name edge
		breaker off
		`+as+`
	}
	reverse_proxy UPSTREAM`)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				for content, k := range map[string]client{
					"text/plain; charset=utf-8": anyProgram, "text/html; charset=utf-8": aBrowser, "application/problem+json": aScript, "": eventSource,
				} {
					res, body := k.asks(t, c, "GET", url+"/hang")
					h := res.Header
					if res.StatusCode != status || h.Get("X-Should-Retry") != "false" || h.Get("Retry-After") != "" || h.Get("Refresh") != "" {
						t.Errorf("%s: got %d %v", content, res.StatusCode, h)
					}
					if got := h.Get("Content-Type"); got != content && (content != "" || got != "text/plain; charset=utf-8") {
						t.Errorf("%s: got %s %s", content, got, body)
					}
					if want := `edge;error=http_response_timeout;details="` + timeout + `"`; h.Get("Proxy-Status") != want {
						t.Errorf("%s: Proxy-Status %q", content, h.Get("Proxy-Status"))
					}
				}
			})
		})
	}
}

// Calls of gRPC are sent again by their clients' libraries after the pushback, and not at
// all after a timeout or a cancel. Every timeout has the code of a deadline.
func TestPushbacksOfCalls(t *testing.T) {
	stuck := make(chan struct{})
	behind := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
		switch r.URL.Path {
		case "/stuck":
			<-stuck
		case "/hang":
			<-r.Context().Done()
		}
		return nil
	})
	s, o := serveOperated(t, nil, `
	offload {
		name calls
		first_byte_timeout 100ms
		breaker off
	}
	`+behind)
	want := func(t *testing.T, res *http.Response, code, pushback string) {
		t.Helper()
		h := res.Header
		if res.StatusCode != 200 || h.Get("Grpc-Status") != code || h.Get("Grpc-Message") == "" {
			t.Errorf("got %d %v, want the code %s", res.StatusCode, h, code)
		}
		switch got := h.Get("Grpc-Retry-Pushback-Ms"); pushback {
		case "ms":
			ms, err := strconv.Atoi(got)
			if after, _ := strconv.Atoi(h.Get("Retry-After")); err != nil || ms <= 0 || ms > after*1000 {
				t.Errorf("pushback %q, Retry-After %q", got, h.Get("Retry-After"))
			}
		default:
			if got != pushback || h.Get("Retry-After") != "" || h.Get("X-Should-Retry") != "false" {
				t.Errorf("pushback %q of %v, want %q", got, h, pushback)
			}
		}
	}
	for _, version := range []string{"h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			c, url := s.Clients()[version], "https://"+s.Addr
			res, _ := aCall.asks(t, c, "POST", url+"/hang")
			want(t, res, "4", "-1")

			// The head of a stuck run is sent before its end, so the status is in trailers: with a
			// status in such a head, grpc-go reports a stream without trailers.
			res, err := c.Do(aCall.request(t, "POST", url+"/stuck"))
			if err != nil {
				t.Fatal(err)
			}
			stuck <- struct{}{}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if got := res.Header.Get("Grpc-Status"); got != "" {
				t.Errorf("the head before the end has the status %s", got)
			}
			maps.Copy(res.Header, res.Trailer)
			want(t, res, "4", "-1")

			o.post("pools/{name}/drain", "calls", `{"wait": "10s"}`)
			res, _ = aCall.asks(t, c, "POST", url)
			want(t, res, "14", "ms")
			o.post("pools/{name}/resume", "calls", "")
		})
	}
}

// What an operator has cancelled is not to be sent again unasked, by any kind of client.
func TestCancelsByKindOfClient(t *testing.T) {
	s, o := serveOperated(t, nil, `
	offload {
		name cancels
	}
	respond ok`)
	o.post("pools/{name}/pause", "cancels", "")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for content, k := range map[string]client{"text/plain": anyProgram, "text/html": aBrowser, "application/problem+json": aScript} {
			a := askFor(c, k.request(t, "GET", url))
			o.untilWaiting("cancels", 1)
			o.post("requests/{id}/cancel", o.only("cancels", "waiting"), "")
			a.want(t, 503)
			h := a.res.Header
			if !strings.HasPrefix(h.Get("Content-Type"), content) || h.Get("X-Should-Retry") != "false" || h.Get("Retry-After") != "" || h.Get("Refresh") != "" {
				t.Errorf("%s: got %v", content, h)
			}
		}
		if strings.HasSuffix(t.Name(), "/h1") {
			return // there is no gRPC
		}
		a := askFor(c, aCall.request(t, "POST", url))
		o.untilWaiting("cancels", 1)
		o.post("requests/{id}/cancel", o.only("cancels", "waiting"), "")
		a.want(t, 200)
		if h := a.res.Header; h.Get("Grpc-Status") != "1" || h.Get("Grpc-Retry-Pushback-Ms") != "-1" {
			t.Errorf("the call got %v", h)
		}
	})
	o.post("pools/{name}/resume", "cancels", "")
}

// The emergency answer for a run that is stuck has the status of the route too, and says
// that the request should not be sent again. So does the log of a pool around it.
func TestStuckRunsHaveTheStatusOfTheRoute(t *testing.T) {
	stuck := make(chan struct{})
	behind := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		<-stuck
		return nil
	})
	s := site.Serve(t, nil, `
	route {
		offload {
			name around
			first_byte_timeout off
		}
		offload {
			name within
			first_byte_timeout 100ms
			timeout_status 500
		}
		`+behind+`
	}`)
	res, body := aScript.asks(t, s.Clients()["h1"], "GET", "https://"+s.Addr)
	if res.StatusCode != 500 || body != "Internal Server Error\n" || res.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("got %d %q %v", res.StatusCode, body, res.Header)
	}
	close(stuck)
	if line := s.AccessLog(1)[0]; line["status"] != 500.0 {
		t.Errorf("logged %v", line)
	}
}
