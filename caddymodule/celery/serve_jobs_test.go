package celery_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// jobSite has a site whose jobs are tasks.
type jobSite struct {
	t *testing.T
	s *site.Site
}

func (l *lab) serveJobs(words string) jobSite {
	l.t.Helper()
	text := "offload_jobs /.jobs/*\noffload {\nname tasks\nconcurrency 4\nqueue 100\njobs {\nhandle {\n" + l.directive(words) + "}\n}\n}\n"
	return jobSite{l.t, site.Serve(l.t, nil, text)}
}

// send sends a request, and returns the fields of the job in its answer.
func (j jobSite) send(method, path string, fields ...string) map[string]any {
	j.t.Helper()
	res, body := site.Do(j.t, http.DefaultClient, request(j.t, method, "http://"+j.s.Clear+path, "", fields...))
	var job map[string]any
	if err := json.Unmarshal([]byte(body), &job); err != nil || res.StatusCode/100 != 2 {
		j.t.Fatalf("%s %s: %s %s", method, path, res.Status, body)
	}
	return job
}

// submit hands in a job, and returns its path.
func (j jobSite) submit() string {
	j.t.Helper()
	return "/.jobs/" + j.send(http.MethodPost, "/", "Prefer", "respond-async, wait=0")["id"].(string)
}

// progressIs waits until a job has a progress. A nil percentage is an unknown one.
func (j jobSite) progressIs(path string, percent any, message string) {
	j.t.Helper()
	testkit.Eventually(j.t, func() bool {
		progress, ok := j.send(http.MethodGet, path)["progress"].(map[string]any)
		return ok && progress["percent"] == percent && progress["message"] == message
	})
}

func (j jobSite) stateIs(path, state string) {
	j.t.Helper()
	testkit.Eventually(j.t, func() bool { return j.send(http.MethodGet, path)["state"] == state })
}

// The states of the task are the progress of the job, and its result is the job's.
func TestStatesAreTheProgressOfAJob(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serveJobs("task lab.slow")
	path := s.submit()
	m := l.take()
	for _, state := range []struct {
		name, meta string
		percent    any
		message    string
	}{
		{"STARTED", `{"pid": 1}`, nil, "STARTED"},
		{"PROGRESS", `{"current": 3, "total": 4}`, 75.0, "PROGRESS"},
		{"PROGRESS", `{"percent": 80, "message": "page 4"}`, 80.0, "page 4"},
		{"PROGRESS", `{"current": 9, "total": 4}`, 100.0, "PROGRESS"},
		{"PROGRESS", `{"current": 9, "total": 0}`, nil, "PROGRESS"},
		{"LOADING", `"a text"`, nil, "LOADING"},
		{"RETRY", `{"exc_type": "ValueError", "exc_message": ["secret"], "exc_module": "builtins"}`, nil, "RETRY"},
	} {
		l.report(m, celerytest.State(m.CorrelationID, celery.State(state.name), state.meta))
		s.progressIs(path, state.percent, state.message)
	}
	l.report(m, celerytest.Succeed(m, `"done"`))
	s.stateIs(path, "succeeded")
	if res, body := site.Do(t, http.DefaultClient, request(t, http.MethodGet, "http://"+s.s.Clear+path+"/result", "")); body != `"done"` {
		t.Errorf("the result is %s %s", res.Status, body)
	}
}

// A job that is cancelled revokes its task.
func TestCancellingAJobRevokesItsTask(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serveJobs("task lab.slow")
	path := s.submit()
	m := l.take()
	s.send(http.MethodDelete, path)
	s.stateIs(path, "cancelled")
	testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
	if l.queued("celery") != 0 {
		t.Errorf("the task of %s is sent again", path)
	}
}
