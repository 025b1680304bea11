//go:build integration

package celery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	servers "github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// call submits a job that is a task with arguments, and returns its path.
func (j jobSite) call(task string, args ...any) string {
	j.t.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		j.t.Fatal(err)
	}
	r := request(j.t, http.MethodPost, "http://"+j.s.Clear+"/"+task, string(text),
		"Content-Type", "application/json", "Prefer", "respond-async, wait=0")
	res, body := site.Do(j.t, http.DefaultClient, r)
	if res.StatusCode != http.StatusAccepted {
		j.t.Fatalf("%s: %s", res.Status, body)
	}
	return res.Header.Get("Location")
}

// With a real worker that runs one task at a time, the states of a task are the progress of
// its job, and a job that is cancelled while its task waits for the worker never runs.
func TestJobsOfARealWorker(t *testing.T) {
	redis := servers.StartRedis(t)
	worker := servers.StartWorker(t, servers.WorkerOptions{Broker: redis.URL(0), Backend: redis.URL(1), Slots: 1})
	celery := fmt.Sprintf("celery {\nbroker %s\nbackend %s\ntask lab.{path.0}\ntasks lab.*\nargs_from array\ntimeout off\n}\n", redis.URL(0), redis.URL(1))
	text := "offload_jobs /.jobs/*\noffload {\nname tasks\nconcurrency 4\nqueue 100\njobs {\nhandle {\n" + celery + "}\n}\n}\n"
	j := jobSite{t, site.Serve(t, nil, text)}

	folder := t.TempDir()
	seen, never, later := filepath.Join(folder, "seen"), filepath.Join(folder, "never"), filepath.Join(folder, "later")
	first := j.call("steps", 2, seen)
	j.progressIs(first, nil, "PROGRESS")
	cancelled := j.call("touch", never)
	j.stateIs(cancelled, "running")
	j.send(http.MethodDelete, cancelled)
	j.stateIs(cancelled, "cancelled")
	testkit.Eventually(t, func() bool { return strings.Contains(worker.Log(), "flagged as revoked") })
	last := j.call("touch", later)
	if err := os.WriteFile(seen, []byte("xx"), 0o600); err != nil {
		t.Fatal(err)
	}
	j.stateIs(first, "succeeded")
	j.stateIs(last, "succeeded")
	if _, body := site.Do(t, http.DefaultClient, request(t, http.MethodGet, "http://"+j.s.Clear+first+"/result", "")); body != `{"done": 2}` {
		t.Errorf("the result is %s", body)
	}
	if _, err := os.Stat(later); err != nil {
		t.Errorf("the last task has not run: %v", err)
	}
	if _, err := os.Stat(never); err == nil {
		t.Error("the task of the cancelled job has run")
	}
}
