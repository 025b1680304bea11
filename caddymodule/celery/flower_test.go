package celery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// flower runs a site with Flower's API and something behind it.
func (l *lab) flower(words string) *site.Site {
	l.t.Helper()
	return site.Serve(l.t, nil, "route {\n"+l.directive("flower\ntasks lab.*\n"+words)+"respond behind\n}")
}

// ask sends a request of Flower's API and decodes the JSON of the response.
func ask(t *testing.T, c *http.Client, method, url, body string) (int, map[string]any) {
	t.Helper()
	res, text := site.Do(t, c, request(t, method, url, body)) // without a type, as curl without options
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("got %d %s", res.StatusCode, text)
	}
	return res.StatusCode, fields
}

func TestFlowerApply(t *testing.T) {
	l := newLab(t)
	l.work(1, func(m *celery.Message) [][]byte {
		args, kwargs := bodyOf(t, m)
		return [][]byte{
			celerytest.State(m.CorrelationID, celery.Started, "null"),
			celerytest.Succeed(m, fmt.Sprintf(`[%s, %s]`, args, kwargs)),
		}
	})
	s := l.flower("")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		status, got := ask(t, c, http.MethodPost, url+"/api/task/apply/lab.add", `{"args": [1, "two"], "kwargs": {"n": 3}}`)
		want := `[[1,"two"],{"n":3}]`
		if text, _ := json.Marshal(got["result"]); status != 200 || string(text) != want || got["state"] != "SUCCESS" {
			t.Errorf("got %d %v", status, got)
		}
		if id, _ := got["task-id"].(string); len(id) != 36 || len(got) != 3 {
			t.Errorf("got %v", got)
		}
		if status, got := ask(t, c, http.MethodPost, url+"/api/task/apply/lab.add", ""); status != 200 || got["state"] != "SUCCESS" {
			t.Errorf("without a body: got %d %v", status, got)
		}
	})
}

// The response for a failed task has status 200, as with Flower.
func TestFlowerFailures(t *testing.T) {
	l := newLab(t)
	l.work(1, end)
	for words, traceback := range map[string]any{"detail message": nil, "detail traceback": "Traceback: /srv/app/tasks.py"} {
		s := l.flower(words)
		c := s.Clients()["h1"]
		status, got := ask(t, c, http.MethodPost, "https://"+s.Addr+"/api/task/apply/lab.echo", `{"args": ["value"]}`)
		if status != 200 || got["state"] != "FAILURE" || got["result"] != "ValueError('boom')" {
			t.Errorf("got %d %v", status, got)
		}
		if text, ok := got["traceback"]; !ok || text != traceback {
			t.Errorf("traceback is %v, want %v", text, traceback)
		}
		status, got = ask(t, c, http.MethodPost, "https://"+s.Addr+"/api/task/apply/lab.echo", `{"args": ["expired"]}`)
		if _, ok := got["traceback"]; status != 200 || ok || got["state"] != "REVOKED" || got["result"] != "TaskRevokedError('expired')" {
			t.Errorf("got %d %v", status, got)
		}
	}
	for _, words := range []string{"", "detail none"} {
		s := l.flower(words)
		_, got := ask(t, s.Clients()["h1"], http.MethodPost, "https://"+s.Addr+"/api/task/apply/lab.echo", `{"args": ["value"]}`)
		if got["state"] != "FAILURE" || got["result"] != nil {
			t.Errorf("%s: got %v", words, got)
		}
	}
}

// sent calls a task by Flower's API, takes it from the queue, and returns its ID.
func (l *lab) sent(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	status, got := ask(t, c, http.MethodPost, url+"/api/task/async-apply/lab.add", "")
	id, _ := got["task-id"].(string)
	if status != 200 || l.take().CorrelationID != id {
		t.Fatalf("got %d %v", status, got)
	}
	return id
}

func TestFlowerSends(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("queues slow")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		status, got := ask(t, c, http.MethodPost, url+"/api/task/async-apply/lab.add",
			`{"args": [1], "countdown": 30, "expires": "90.5"}`)
		m := l.take()
		if status != 200 || len(got) != 2 || got["state"] != "PENDING" || got["task-id"] != m.CorrelationID {
			t.Errorf("got %d %v", status, got)
		}
		if left := seconds(t, m.Headers["eta"]); left > 30 || left < 20 {
			t.Errorf("starts in %f s", left)
		}
		if left := seconds(t, m.Headers["expires"]); left > 91 || left < 80 {
			t.Errorf("expires in %f s", left)
		}
		// A task that no worker knows can be sent.
		status, got = ask(t, c, http.MethodPost, url+"/api/task/send-task/lab.later",
			`{"queue": "slow", "eta": "2100-01-31 12:00:00.500", "expires": "2100-02-01 00:00:00.0"}`)
		m, err := l.Take(t.Context(), "slow")
		if err != nil {
			t.Fatal(err)
		}
		if status != 200 || got["state"] != "PENDING" || m.Headers["task"] != "lab.later" {
			t.Errorf("got %d %v", status, got)
		}
		if m.Headers["eta"] != "2100-01-31T12:00:00.500000+00:00" || m.Headers["expires"] != "2100-02-01T00:00:00+00:00" {
			t.Errorf("headers are %v", m.Headers)
		}
	})
}

func TestFlowerRefuses(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("queues slow")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, tt := range []struct {
			method, path, body string
			status             int
			reason             string
		}{
			{"POST", "apply/other.task", "", 404, "unknown_task"},
			{"POST", "async-apply/other.task", "", 404, "unknown_task"},
			{"POST", "send-task/other.task", "", 404, "unknown_task"},
			{"POST", "apply/lab.later", "", 404, "unknown_task"},
			{"POST", "apply/", "", 404, "unknown_task"},
			{"POST", "apply/lab.add", `{"args": {"a": 1}}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"args": null}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"kwargs": []}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `[1]`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `null`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"args": [`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"queue": "other"}`, 404, "unknown_queue"},
			{"POST", "apply/lab.add", `{"queue": 7}`, 404, "unknown_queue"},
			{"POST", "apply/lab.add", `{"routing_key": "other"}`, 404, "unknown_queue"},
			{"POST", "apply/lab.add", `{"countdown": "soon"}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"countdown": 1e30}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"eta": 7}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"eta": "2100-01-31T12:00:00Z"}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"expires": "never"}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"task_id": "mine"}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"link": []}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"timeout": "soon"}`, 400, "bad_arguments"},
			{"POST", "apply/lab.add", `{"timeout": -1}`, 400, "bad_arguments"},
			{"POST", "async-apply/lab.add", `{"timeout": 1}`, 400, "bad_arguments"},
			{"GET", "apply/lab.add", "", 405, "bad_method"},
			{"POST", "result/a", "", 405, "bad_method"},
			{"GET", "abort/a", "", 405, "bad_method"},
			{"GET", "result/", "", 400, "bad_arguments"},
			{"GET", "result/" + strings.Repeat("a", 256), "", 400, "bad_arguments"},
			{"GET", "result/a%0Ab", "", 400, "bad_arguments"},
			{"GET", "result/a?timeout=soon", "", 400, "bad_arguments"},
			{"GET", "result/a?timeout=-1", "", 400, "bad_arguments"},
			{"POST", "abort/", "", 400, "bad_arguments"},
			{"POST", "revoke/", "", 400, "bad_arguments"},
			{"POST", "revoke/a?terminate=true", "", 400, "bad_arguments"},
			{"POST", "revoke/a?signal=SIGKILL", "", 400, "bad_arguments"},
		} {
			status, got := ask(t, c, tt.method, url+"/api/task/"+tt.path, tt.body)
			if status != tt.status || got["reason"] != tt.reason {
				t.Errorf("%s %s %s: got %d %v", tt.method, tt.path, tt.body, status, got)
			}
		}
		for _, path := range []string{"/", "/api/task", "/api/task/", "/api/task/info/a", "/api/workers", "/x/api/task/result/a"} {
			if res, body := site.Get(t, c, url+path); body != "behind" {
				t.Errorf("%s: got %d %s", path, res.StatusCode, body)
			}
		}
	})
	if l.queued("celery")+l.queued("slow") != 0 || len(l.revoked(false))+len(l.revoked(true)) != 0 {
		t.Error("something was sent")
	}
}

func TestFlowerResult(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("detail message")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		id := l.sent(t, c, url)
		at := url + "/api/task/result/" + id
		m := &celery.Message{CorrelationID: id}
		status, got := ask(t, c, http.MethodGet, at, "")
		if status != 200 || len(got) != 2 || got["task-id"] != id || got["state"] != "PENDING" {
			t.Errorf("got %d %v", status, got)
		}
		l.progress(m, `{"n": 1}`)
		if status, got := ask(t, c, http.MethodGet, at, ""); status != 200 || len(got) != 2 || got["state"] != "PROGRESS" {
			t.Errorf("got %d %v", status, got)
		}
		for _, wait := range []string{"0", "0.05"} {
			if status, got := ask(t, c, http.MethodGet, at+"?timeout="+wait, ""); status != 200 || len(got) != 2 || got["state"] != "PROGRESS" {
				t.Errorf("after %s s: got %d %v", wait, status, got)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			status, got := ask(t, c, http.MethodGet, at+"?timeout=10", "")
			if status != 200 || got["state"] != "SUCCESS" || got["result"] != 3.0 {
				t.Errorf("got %d %v", status, got)
			}
		}()
		testkit.Eventually(t, func() bool { return l.Watching() > 0 })
		l.report(m, celerytest.Succeed(m, "3"))
		<-done
		if status, got := ask(t, c, http.MethodGet, at, ""); status != 200 || len(got) != 3 || got["result"] != 3.0 {
			t.Errorf("got %d %v", status, got)
		}
		l.report(m, failure(m, "builtins", "ValueError", "boom"))
		if status, got := ask(t, c, http.MethodGet, at+"?timeout=1", ""); status != 200 || got["result"] != "ValueError('boom')" {
			t.Errorf("got %d %v", status, got)
		}
		l.report(m, celerytest.Succeed(m, "NaN"))
		if status, got := ask(t, c, http.MethodGet, at, ""); status != 502 || got["reason"] != "result_unreadable" {
			t.Errorf("got %d %v", status, got)
		}
		l.report(m, []byte("garbage"))
		if status, got := ask(t, c, http.MethodGet, at, ""); status != 502 || got["reason"] != "result_unreadable" {
			t.Errorf("got %d %v", status, got)
		}
	})
}

// A wait for the result of another request's task does not revoke it at its end.
func TestFlowerResultDoesNotRevoke(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("revoke terminate")
	c := s.Clients()["h2"]
	at := "https://" + s.Addr + "/api/task/result/" + l.sent(t, c, "https://"+s.Addr)
	site.Leave(t, c, at+"?timeout=30", func() {
		testkit.Eventually(t, func() bool { return l.Watching() == 1 })
	})
	testkit.Eventually(t, func() bool { return l.Watching() == 0 })
	if status, got := ask(t, c, http.MethodGet, at+"?timeout=0.3", ""); status != 200 || got["state"] != "PENDING" {
		t.Errorf("got %d %v", status, got)
	}
	if n := len(l.revoked(true)); n != 0 {
		t.Errorf("%d tasks were revoked", n)
	}
}

// A task that checks for an abort finds it, and ends by itself.
func TestFlowerAbort(t *testing.T) {
	l := newLab(t)
	l.work(1, func(m *celery.Message) [][]byte {
		l.report(m, celerytest.State(m.CorrelationID, celery.Started, "null"))
		testkit.Eventually(t, func() bool {
			stored, err := l.Fetch(l.ctx, m.CorrelationID)
			return err == nil && strings.Contains(string(stored), `"ABORTED"`)
		})
		return [][]byte{celerytest.Succeed(m, `"half of it"`)}
	})
	s := l.flower("revoke terminate")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		_, sent := ask(t, c, http.MethodPost, url+"/api/task/async-apply/lab.slow", "")
		id, _ := sent["task-id"].(string)
		at := url + "/api/task/result/" + id
		testkit.Eventually(t, func() bool {
			_, got := ask(t, c, http.MethodGet, at, "")
			return got["state"] == "STARTED"
		})
		for range 2 { // the second has no effect if the task has ended
			if status, got := ask(t, c, http.MethodPost, url+"/api/task/abort/"+id, ""); status != 200 || got["message"] != "Aborted '"+id+"'" {
				t.Errorf("got %d %v", status, got)
			}
		}
		if status, got := ask(t, c, http.MethodGet, at+"?timeout=10", ""); status != 200 || got["state"] != "SUCCESS" || got["result"] != "half of it" {
			t.Errorf("got %d %v", status, got)
		}
	})
	if n := len(l.revoked(true)) + len(l.revoked(false)); n != 0 {
		t.Errorf("%d tasks were revoked", n)
	}
}

func TestFlowerRevoke(t *testing.T) {
	for words, terminate := range map[string]bool{"": false, "revoke off": false, "revoke terminate": true} {
		t.Run(words, func(t *testing.T) {
			l := newLab(t)
			l.work(0, nil)
			s := l.flower(words)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				first, second := l.sent(t, c, url), l.sent(t, c, url)
				status, got := ask(t, c, http.MethodPost, url+"/api/task/revoke/"+first+"?terminate=false", "signal=SIGTERM")
				if status != 200 || got["message"] != "Revoked '"+first+"'" {
					t.Errorf("got %d %v", status, got)
				}
				testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), first) })
				if !terminate {
					return
				}
				if status, got := ask(t, c, http.MethodPost, url+"/api/task/revoke/"+second, "terminate=True"); status != 200 {
					t.Errorf("got %d %v", status, got)
				}
				testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(true), second) })
			})
		})
	}
}

// After its timeout a client gets the last state, and the task continues.
func TestFlowerApplyForAWhile(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		status, got := ask(t, c, http.MethodPost, url+"/api/task/apply/lab.slow", `{"timeout": 0.05}`)
		m := l.take()
		if status != 200 || len(got) != 2 || got["task-id"] != m.CorrelationID || got["state"] != "PENDING" {
			t.Errorf("got %d %v", status, got)
		}
		l.report(m, celerytest.Succeed(m, "7"))
		if _, got := ask(t, c, http.MethodGet, url+"/api/task/result/"+m.CorrelationID, ""); got["result"] != 7.0 {
			t.Errorf("got %v", got)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, wait := range []string{"null", `"10"`} {
				if status, got := ask(t, c, http.MethodPost, url+"/api/task/apply/lab.slow", `{"timeout": `+wait+`}`); status != 200 || got["result"] != 8.0 {
					t.Errorf("got %d %v", status, got)
				}
			}
		}()
		for range 2 {
			m := l.take()
			l.report(m, celerytest.Succeed(m, "8"))
		}
		<-done
	})
	if n := len(l.revoked(false)); n != 0 {
		t.Errorf("%d tasks were revoked", n)
	}
}

// If the client of apply leaves, its task is revoked.
func TestFlowerApplyRevokes(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("timeout 500ms")
	status, got := ask(t, s.Clients()["h1"], http.MethodPost, "https://"+s.Addr+"/api/task/apply/lab.slow", "")
	m := l.take()
	if status != 504 || got["task_id"] != m.CorrelationID {
		t.Errorf("got %d %v", status, got)
	}
	testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
}

// Without a backend that stores results, tasks can be sent, but requests for results fail.
func TestFlowerWithoutResults(t *testing.T) {
	for _, backend := range []string{"", "backend rpc://\n"} {
		l := newLab(t)
		l.work(0, nil)
		s := site.Serve(t, nil, "celery {\nbroker memory://"+l.name+"\n"+backend+"flower\ntasks lab.*\ntimeout 1s\n}")
		c := s.Clients()["h1"]
		at := "https://" + s.Addr + "/api/task/"
		status, got := ask(t, c, http.MethodPost, at+"async-apply/lab.add", "")
		sentID, _ := got["task-id"].(string)
		if _, ok := got["state"]; status != 200 || ok != (backend != "") {
			t.Errorf("%s: got %d %v", backend, status, got)
		}
		for _, path := range []string{"result/a", "result/a?timeout=1"} {
			if status, got := ask(t, c, http.MethodGet, at+path, ""); status != 503 || got["reason"] != "result_unsupported" {
				t.Errorf("%s: got %d %v", backend, status, got)
			}
		}
		if status, got := ask(t, c, http.MethodPost, at+"abort/a", ""); status != 503 {
			t.Errorf("%s: got %d %v", backend, status, got)
		}
		for id, want := range map[string]int{sentID: 200, "a": 404} {
			if status, got := ask(t, c, http.MethodPost, at+"revoke/"+id, ""); status != want {
				t.Errorf("%s: got %d %v", backend, status, got)
			}
		}
		if backend == "" {
			if status, got := ask(t, c, http.MethodPost, at+"apply/lab.add", ""); status != 503 || got["reason"] != "result_unsupported" {
				t.Errorf("got %d %v", status, got)
			}
		}
	}
}
