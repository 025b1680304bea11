package celery_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
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

// echoAll returns the contents of the message as the result.
func echoAll(m *celery.Message) [][]byte {
	headers, err := json.Marshal(m.Headers)
	if err != nil {
		panic(err)
	}
	priority := "null"
	if m.Priority != nil {
		priority = fmt.Sprint(*m.Priority)
	}
	return [][]byte{celerytest.Succeed(m, fmt.Sprintf(`{"queue": %q, "priority": %s, "body": %s, "headers": %s}`,
		m.RoutingKey, priority, m.Body, headers))}
}

// echoed is the result of echoAll.
type echoed struct {
	Queue    string
	Priority *int
	Body     []json.RawMessage
	Headers  map[string]any
}

func echoedBy(t *testing.T, c *http.Client, req *http.Request) echoed {
	t.Helper()
	res, body := site.Do(t, c, req)
	var e echoed
	if err := json.Unmarshal([]byte(body), &e); err != nil || res.StatusCode != 200 || len(e.Body) != 3 {
		t.Fatalf("got %d %s: %v", res.StatusCode, body, err)
	}
	return e
}

func request(t *testing.T, method, url, body string, fields ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return req
}

// seconds returns the seconds until a time in a header.
func seconds(t *testing.T, value any) float64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, fmt.Sprint(value))
	if err != nil {
		t.Fatal(err)
	}
	return time.Until(at).Seconds()
}

func TestRequestsBecomeTasks(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	l := newLab(t)
	l.work(2, echoAll)
	s := l.serve(`task lab.add
		args {path.1} int({path.1}) 42
		args_from array
		kwargs_from query
		kwargs user {header.X-User}
		kwargs page? int({query.page})
		headers {
			x-tenant {header.X-Tenant}
			x-level 3
		}
		priority 7
		timeout 90s`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		e := echoedBy(t, c, request(t, http.MethodPost, url+"/add/17?x=1&user=root", `["more",{"n":1.0}]`,
			"Content-Type", "application/json", "X-User", "ann", "X-Tenant", "t1", "Traceparent", parent, "Tracestate", "a=b", "Baggage", "c=d"))
		if got, want := string(e.Body[0]), `["17",17,42,"more",{"n":1.0}]`; got != want {
			t.Errorf("args are %s, want %s", got, want)
		}
		if got, want := string(e.Body[1]), `{"user":"ann","x":"1"}`; got != want {
			t.Errorf("kwargs are %s, want %s", got, want)
		}
		if e.Queue != "celery" || e.Priority == nil || *e.Priority != 7 {
			t.Errorf("queue %q, priority %v", e.Queue, e.Priority)
		}
		for name, want := range map[string]any{
			"task": "lab.add", "x-tenant": "t1", "x-level": 3.0, "traceparent": parent, "tracestate": "a=b", "baggage": "c=d", "ignore_result": false,
		} {
			if got := e.Headers[name]; got != want {
				t.Errorf("header %s is %v, want %v", name, got, want)
			}
		}
		if left := seconds(t, e.Headers["expires"]); left < 60 || left > 90 {
			t.Errorf("expires in %f s", left)
		}
		if limit, ok := e.Headers["timelimit"].([]any); !ok || limit[0] != 90.0 || limit[1] != nil {
			t.Errorf("time limit is %v", e.Headers["timelimit"])
		}
	})
}

// Values of a form or of the query are strings, in their order.
func TestValuesBecomeArgs(t *testing.T) {
	l := newLab(t)
	l.work(2, echoAll)
	const form = "application/x-www-form-urlencoded"
	for source, path := range map[string]string{"query": "/?n=3&m=x+y&n=1", "form": "/?n=9"} {
		s := l.serve("task lab.add\nargs int(7)\nargs_from " + source)
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			e := echoedBy(t, c, request(t, http.MethodPost, url+path, "n=3&m=x+y&n=1", "Content-Type", form))
			if got, want := string(e.Body[0]), `[7,"3","x y","1"]`; got != want {
				t.Errorf("args from %s are %s, want %s", source, got, want)
			}
		})
	}
	s := l.serve("task lab.add\nargs_from query")
	res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/?n=1&m=%25zz%zz")
	wantProblem(t, res, body, 400, "bad_arguments")
}

// The worker gets the expiry and the time limits of a task.
func TestBoundsOfATask(t *testing.T) {
	l := newLab(t)
	l.work(2, echoAll)
	for name, tt := range map[string]struct {
		outer, words string
		expires      float64 // seconds, zero for none
		limit        string
	}{
		"the default":                   {"", "", 60, "[60 <nil>]"},
		"no end":                        {"", "timeout off", 0, "[<nil> <nil>]"},
		"its expiry":                    {"", "expires 10m", 600, "[60 <nil>]"},
		"no expiry":                     {"", "expires off", 0, "[60 <nil>]"},
		"its limits":                    {"", "time_limit 30s 1500ms", 60, "[30 1.5]"},
		"no limits":                     {"", "time_limit off", 60, "[<nil> <nil>]"},
		"the run's first byte":          {"offload {\n first_byte_timeout 20s\n}", "", 20, "[20 <nil>]"},
		"the run's end":                 {"offload {\n first_byte_timeout off\n run_timeout 20s\n}", "", 20, "[20 <nil>]"},
		"a run that is longer":          {"offload {\n first_byte_timeout 200s\n}", "", 60, "[60 <nil>]"},
		"a run without end":             {"offload {\n first_byte_timeout off\n}", "timeout off", 0, "[<nil> <nil>]"},
		"a run of which only one ends":  {"offload {\n first_byte_timeout off\n run_timeout 20s\n}", "timeout off", 20, "[20 <nil>]"},
		"the shorter of two runs of it": {"offload {\n first_byte_timeout 30s\n}\n", "timeout 90s", 30, "[30 <nil>]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, nil, tt.outer+"\n"+l.directive("task lab.add\n"+tt.words))
			e := echoedBy(t, s.Clients()["h1"], request(t, http.MethodGet, "https://"+s.Addr, ""))
			if got := fmt.Sprint(e.Headers["timelimit"]); got != tt.limit {
				t.Errorf("time limit is %s, want %s", got, tt.limit)
			}
			if tt.expires == 0 {
				if e.Headers["expires"] != nil {
					t.Errorf("expires %v", e.Headers["expires"])
				}
			} else if left := seconds(t, e.Headers["expires"]); left > tt.expires || left < tt.expires-10 {
				t.Errorf("expires in %f s, want %f", left, tt.expires)
			}
		})
	}
}

// The time in which a client sends its body counts.
func TestExpiryIsCountedFromTheRequest(t *testing.T) {
	l := newLab(t)
	l.work(1, echoAll)
	s := l.serve("task lab.add\nargs_from raw\nexpires 90s")
	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr, body)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan time.Time, 1)
	go func() {
		_, _ = rest.Write([]byte("first")) // a server that reads it has the request
		testkit.Pause(time.Second)
		sent <- time.Now()
		rest.Close()
	}()
	e := echoedBy(t, s.Clients()["h1"], req)
	expires, err := time.Parse(time.RFC3339, e.Headers["expires"].(string))
	if at := <-sent; err != nil || !expires.Before(at.Add(90*time.Second)) {
		t.Errorf("expires at %s, body sent at %s: %v", expires, at, err)
	}
}

func TestRequestsThatFitNoTask(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve(`task {path.0}
		tasks lab.* reports.render
		queue {header.X-Queue}
		queues slow*
		args int({query.n})
		kwargs_from json
		max_body 20B`)
	const form = "application/x-www-form-urlencoded"
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for name, tt := range map[string]struct {
			path, queue, contentType, body string
			status                         int
			reason                         string
		}{
			"a task that is not listed":  {"/other.add?n=1", "slow", "", "", 404, "unknown_task"},
			"a task with a listed part":  {"/a.lab.add?n=1", "slow", "", "", 404, "unknown_task"},
			"no task":                    {"/?n=1", "slow", "", "", 404, "unknown_task"},
			"a queue that is not listed": {"/lab.add?n=1", "celery", "", "", 404, "unknown_queue"},
			"no number":                  {"/lab.add?n=one", "slow", "", "", 400, "bad_arguments"},
			"no object":                  {"/lab.add?n=1", "slow", "application/json", "[]", 400, "bad_arguments"},
			"no JSON":                    {"/lab.add?n=1", "slow", form, "a=1", 415, "bad_media_type"},
			"half a character":           {"/lab.add?n=1", "slow", "application/json", `{"a":"\ud800"}`, 400, "bad_arguments"},
			"a large body":               {"/lab.add?n=1", "slow", "application/json", `{"a": "0123456789abcdef"}`, 413, "body_too_large"},
		} {
			t.Run(name, func(t *testing.T) {
				res, body := site.Do(t, c, request(t, http.MethodPost, url+tt.path, tt.body, "Content-Type", tt.contentType, "X-Queue", tt.queue))
				fields := wantProblem(t, res, body, tt.status, tt.reason)
				if fields["task_id"] != nil {
					t.Errorf("a task was sent: %v", fields)
				}
			})
		}
	})
	for _, queue := range []string{"celery", "slow"} {
		if n := l.queued(queue); n != 0 {
			t.Errorf("%d tasks were sent to %s", n, queue)
		}
	}
}

// A body of unknown length is read up to the limit.
func TestLargeBodyOfUnknownLength(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	s := l.serve("task lab.echo\nargs_from raw\nmax_body 1KB")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for n, want := range map[int]int{1000: 200, 1001: 413} {
			req := request(t, http.MethodPost, url, strings.Repeat("a", n))
			req.ContentLength = -1
			if res, body := site.Do(t, c, req); res.StatusCode != want {
				t.Errorf("%d bytes: got %d %s", n, res.StatusCode, body)
			}
		}
	})
}

func TestShapesOfResults(t *testing.T) {
	l := newLab(t)
	results := map[string]string{
		"text":   `"gr\u00fcn"`,
		"bytes":  `{"__type__": "base64", "__value__": "iVBORw=="}`,
		"number": `42`,
		"made":   `{"status": 201, "headers": {"location": "/things/7", "set-cookie": ["a=1", "b=2"]}, "body": {"id": 7}}`,
		"gone":   `{"status": 204}`,
		"bad":    `{"status": 200, "headers": {"transfer-encoding": "chunked"}}`,
		"nan":    `[1, NaN]`,
	}
	l.work(2, func(m *celery.Message) [][]byte {
		var name string
		_ = json.Unmarshal(celerytest.Arguments(m)[0], &name)
		return [][]byte{celerytest.Succeed(m, results[name])}
	})
	s := site.Serve(t, nil, "handle /raw/* {\n"+l.directive("task lab.echo\nargs {path.1}\nresult raw")+"}\n"+
		"handle /png/* {\n"+l.directive("task lab.echo\nargs {path.1}\nresult raw\ncontent_type image/png")+"}\n"+
		"handle /http/* {\n"+l.directive("task lab.echo\nargs {path.1}\nresult http")+"}\n"+
		"handle /json/* {\n"+l.directive("task lab.echo\nargs {path.1}")+"}\n")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for path, tt := range map[string]struct {
			status      int
			contentType string
			body        string // or the reason
		}{
			"/raw/text":    {200, "text/plain; charset=utf-8", "grün"},
			"/raw/bytes":   {200, "application/octet-stream", "\x89PNG"},
			"/png/bytes":   {200, "image/png", "\x89PNG"},
			"/raw/number":  {502, "", "result_does_not_fit"},
			"/http/made":   {201, "application/json", `{"id": 7}`},
			"/http/gone":   {204, "", ""},
			"/http/bad":    {502, "", "result_does_not_fit"},
			"/http/number": {502, "", "result_does_not_fit"},
			"/json/text":   {200, "application/json", `"gr\u00fcn"`},
			"/json/bytes":  {200, "application/json", `"iVBORw=="`},
			"/json/nan":    {502, "", "result_unreadable"},
		} {
			res, body := site.Get(t, c, url+path)
			if tt.status == 502 {
				wantProblem(t, res, body, tt.status, tt.body)
				continue
			}
			if res.StatusCode != tt.status || body != tt.body || res.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("%s: got %d %s %q", path, res.StatusCode, res.Header.Get("Content-Type"), body)
			}
			if path == "/http/made" && (res.Header.Get("Location") != "/things/7" || len(res.Header["Set-Cookie"]) != 2) {
				t.Errorf("headers are %v", res.Header)
			}
		}
	})
}

// With result none the response is 202 at once.
func TestResultNone(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := site.Serve(t, nil, "celery {\nbroker memory://"+l.name+"\ntask lab.add\nargs 1\nresult none\nignore_result\nexpires 1h\n}")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url)
		m := l.take()
		if res.StatusCode != 202 || body != fmt.Sprintf(`{"task_id":%q}`, m.CorrelationID) {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
		if m.Headers["ignore_result"] != true || fmt.Sprint(m.Headers["timelimit"]) != "[<nil> <nil>]" {
			t.Errorf("headers are %v", m.Headers)
		}
		if left := seconds(t, m.Headers["expires"]); left < 3500 || left > 3600 {
			t.Errorf("expires in %f s", left)
		}
	})
}
