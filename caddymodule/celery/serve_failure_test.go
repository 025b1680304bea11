package celery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// failure reports an exception as workers do, with its traceback.
func failure(m *celery.Message, module, kind, message string) []byte {
	return fmt.Appendf(nil, `{"status": "FAILURE", "result": {"exc_type": %q, "exc_message": [%q], "exc_module": %q}, `+
		`"traceback": "Traceback: /srv/app/tasks.py", "children": [], "task_id": %q}`, kind, message, module, m.CorrelationID)
}

// endings are the outcomes of tasks, by their argument.
var endings = map[string]func(m *celery.Message) []byte{
	"value":   func(m *celery.Message) []byte { return failure(m, "builtins", "ValueError", "boom") },
	"mapped":  func(m *celery.Message) []byte { return failure(m, "app.errors", "NotFound", "no such thing") },
	"nested":  func(m *celery.Message) []byte { return failure(m, "app.errors", "Outer.Inner", "deep") },
	"unknown": func(m *celery.Message) []byte { return failure(m, "celery.exceptions", "NotRegistered", "lab.echo") },
	"limit":   func(m *celery.Message) []byte { return failure(m, "billiard.exceptions", "TimeLimitExceeded", "1") },
	"soft":    func(m *celery.Message) []byte { return failure(m, "billiard.exceptions", "SoftTimeLimitExceeded", "") },
	"lost": func(m *celery.Message) []byte {
		return failure(m, "billiard.exceptions", "WorkerLostError", "signal 9")
	},
	"encode":  func(m *celery.Message) []byte { return failure(m, "kombu.exceptions", "EncodeError", "set") },
	"revoked": func(m *celery.Message) []byte { return revocation(m, "revoked") },
	"killed":  func(m *celery.Message) []byte { return revocation(m, "terminated") },
	"expired": func(m *celery.Message) []byte { return revocation(m, "expired") },
	"garbage": func(*celery.Message) []byte { return []byte("\x80\x04pickle") },
}

func revocation(m *celery.Message, why string) []byte {
	return celerytest.State(m.CorrelationID, celery.Revoked,
		fmt.Sprintf(`{"exc_type": "TaskRevokedError", "exc_message": [%q], "exc_module": "celery.exceptions"}`, why))
}

func end(m *celery.Message) [][]byte {
	var how string
	_ = json.Unmarshal(celerytest.Arguments(m)[0], &how)
	return [][]byte{endings[how](m)}
}

func TestFailuresOfTasks(t *testing.T) {
	l := newLab(t)
	l.work(2, end)
	s := l.serve(`task lab.echo
		args {path.0}
		detail message
		errors {
			app.errors.NotFound 404
			Outer.Inner 409
			WorkerLostError 503
		}`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for how, tt := range map[string]struct {
			status            int
			reason            string
			exception, detail string
		}{
			"value":   {500, "task_failed", "ValueError", "boom"},
			"mapped":  {404, "task_failed", "NotFound", "no such thing"},
			"nested":  {409, "task_failed", "Outer.Inner", "deep"},
			"unknown": {404, "unknown_task", "NotRegistered", "lab.echo"},
			"limit":   {504, "time_limit", "TimeLimitExceeded", "1"},
			"soft":    {504, "time_limit", "SoftTimeLimitExceeded", ""},
			"lost":    {503, "worker_lost", "WorkerLostError", "signal 9"},
			"encode":  {502, "result_unreadable", "EncodeError", "set"},
			"revoked": {410, "revoked", "TaskRevokedError", "revoked"},
			"killed":  {410, "terminated", "TaskRevokedError", "terminated"},
			"expired": {504, "expired", "TaskRevokedError", "expired"},
		} {
			res, body := site.Get(t, c, url+"/"+how)
			fields := wantProblem(t, res, body, tt.status, tt.reason)
			detail, _ := fields["detail"].(string)
			if fields["exception"] != tt.exception || detail != tt.detail || fields["task_id"] == "" {
				t.Errorf("%s: got %s", how, body)
			}
			if strings.Contains(body, "tasks.py") {
				t.Errorf("%s: the traceback went out: %s", how, body)
			}
		}
		res, body := site.Get(t, c, url+"/garbage")
		wantProblem(t, res, body, 502, "result_unreadable")
	})
}

func TestStatusOfAllExceptions(t *testing.T) {
	l := newLab(t)
	l.work(1, end)
	s := l.serve("task lab.echo\nargs {path.0}\nerrors {\n* 422\nbuiltins.ValueError 400\n}")
	c := s.Clients()["h1"]
	for how, want := range map[string]int{"value": 400, "mapped": 422, "lost": 502} {
		if res, body := site.Get(t, c, "https://"+s.Addr+"/"+how); res.StatusCode != want {
			t.Errorf("%s: got %d %s", how, res.StatusCode, body)
		}
	}
}

func TestDetailOfExceptions(t *testing.T) {
	l := newLab(t)
	l.work(1, end)
	for word, want := range map[string]string{
		"":          `{"title":"Internal Server Error","status":500,"reason":"task_failed"`,
		"none":      `{"title":"Internal Server Error","status":500,"reason":"task_failed"`,
		"message":   `{"title":"Internal Server Error","status":500,"detail":"boom","reason":"task_failed"`,
		"traceback": `"traceback":"Traceback: /srv/app/tasks.py"`,
	} {
		words := ""
		if word != "" {
			words = "\ndetail " + word
		}
		s := l.serve("task lab.echo\nargs value" + words)
		_, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
		if !strings.Contains(body, want) {
			t.Errorf("%s: got %s", word, body)
		}
		if strings.Contains(body, "boom") != (word == "message" || word == "traceback") || strings.Contains(body, "tasks.py") != (word == "traceback") {
			t.Errorf("%s: got %s", word, body)
		}
	}
}

// An exception of the task is the response. Other failures go to the site's error routes.
func TestErrorRoutes(t *testing.T) {
	l := newLab(t)
	l.work(1, end)
	s := site.Serve(t, nil, l.directive("task lab.echo\nargs int({query.n}) {path.0}")+
		"handle_errors {\nrespond \"{err.status_code} {http.celery.reason} {http.celery.task}\"\n}")
	c := s.Clients()["h1"]
	if res, body := site.Get(t, c, "https://"+s.Addr+"/value?n=x"); res.StatusCode != 400 || body != "400 bad_arguments lab.echo" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
	// The first argument is a number: the task does not know how to end.
	s = site.Serve(t, nil, l.directive("task lab.echo\nargs {path.0}")+"handle_errors {\nrespond no\n}")
	res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/value")
	wantProblem(t, res, body, 500, "task_failed")
}

// The access log and the placeholders have the same values.
func TestWhatIsLogged(t *testing.T) {
	l := newLab(t)
	l.work(1, func(m *celery.Message) [][]byte {
		if m.Headers["task"] == "lab.add" {
			return [][]byte{celerytest.Succeed(m, "3")}
		}
		return end(m)
	})
	s := site.Serve(t, nil, "header >X-Task \"{http.celery.task} {http.celery.task_id} {http.celery.state} {http.celery.reason} {http.celery.exception}\"\n"+
		"header >X-Wait {http.celery.wait_ms}\n"+l.directive("task {path.0}\ntasks lab.*\nargs {path.1}"))
	c := s.Clients()["h1"]
	res, _ := site.Get(t, c, "https://"+s.Addr+"/lab.add/1")
	ok := strings.Fields(res.Header.Get("X-Task"))
	if len(ok) != 3 || ok[0] != "lab.add" || len(ok[1]) != 36 || ok[2] != "SUCCESS" || res.Header.Get("X-Wait") == "" {
		t.Errorf("fields are %q, wait %s", ok, res.Header.Get("X-Wait"))
	}
	res, body := site.Get(t, c, "https://"+s.Addr+"/lab.echo/value")
	failed := strings.Fields(res.Header.Get("X-Task"))
	if len(failed) != 5 || failed[2] != "FAILURE" || failed[3] != "task_failed" || failed[4] != "ValueError" {
		t.Errorf("fields are %q", failed)
	}
	if id := problem(t, res, body)["task_id"]; len(failed) == 5 && id != failed[1] {
		t.Errorf("ID is %v", id)
	}
	lines := s.AccessLog(2)
	first, second := lines[0]["celery"].(map[string]any), lines[1]["celery"].(map[string]any)
	if first["task"] != "lab.add" || first["state"] != "SUCCESS" || first["reason"] != nil || first["wait"] == nil {
		t.Errorf("logged %v", first)
	}
	if second["reason"] != "task_failed" || second["exception"] != "ValueError" || second["state"] != "FAILURE" {
		t.Errorf("logged %v", second)
	}
}

// Failures are not cached, even if the site allows it for results.
func TestFailuresAreNotCached(t *testing.T) {
	for name, wrap := range around {
		for kind, extra := range map[string]string{"plainly": "", "by error routes": "handle_errors {\nrespond \"{err.status_code}\"\n}"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				l := newLab(t)
				l.work(1, func(m *celery.Message) [][]byte { return [][]byte{celerytest.Succeed(m, "1")} })
				s := site.Serve(t, nil, "header Cache-Control \"public, max-age=600\"\n"+
					wrap(l.directive("task lab.{path.0}\ntasks lab.*\nargs int({query.n})"))+"\n"+extra)
				s.EachVersion(func(t *testing.T, c *http.Client, url string) {
					for path, want := range map[string]struct {
						status int
						cache  string
					}{
						"/add?n=1": {200, "public, max-age=600"}, "/add?n=x": {400, "no-store"}, "/unknown?n=1": {404, "no-store"},
					} {
						res, _ := site.Get(t, c, url+path)
						if got := strings.Join(res.Header.Values("Cache-Control"), "|"); res.StatusCode != want.status || got != want.cache {
							t.Errorf("%s: got %d, Cache-Control %q, want %v", path, res.StatusCode, got, want)
						}
					}
					res, _ := site.Do(t, c, request(t, http.MethodGet, url+"/add?n=1", "", "Accept", "text/event-stream", "Last-Event-ID", celery.NewID()))
					if got := res.Header.Get("Cache-Control"); res.StatusCode != 204 || got != "no-store" {
						t.Errorf("a stream that is asked for again: %d, Cache-Control %q", res.StatusCode, got)
					}
				})
			})
		}
	}
}
