package statuspage_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobpage"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/statuspage"
)

const jobID = "06h2x4s427ygmq8ms9yf0py78typw43px60g"

// withJobs is a process with one job that has failed, and one that runs.
func withJobs() *source {
	failed := jobview.Job{
		ID: jobID, Route: "reports", State: "dead", Reason: "attempts_used_up", Created: time.Now(), Ended: time.Now(), Attempt: 3, MaxAttempts: 3,
		Request:  jobview.Request{Method: "POST", Host: "example.com", Path: "/<b>report"},
		Attempts: []jobview.Attempt{{Generation: 1, Number: 1, Began: time.Now(), Ended: time.Now(), Class: "not_sent", Reason: "dial"}},
	}
	running := jobview.Job{
		ID: strings.Repeat("1", 36), Route: "reports", State: "streaming", Created: time.Now(), Attempt: 1, MaxAttempts: 3, Bytes: 2048,
		Progress: &jobview.Progress{Percent: 40, Message: "page 2", At: time.Now()},
	}
	return &source{
		change: func(s *admin.Status) { s.Jobs = true },
		paths: map[string]any{
			"jobs":          jobview.List{Jobs: []jobview.Job{running, failed}, Next: jobID},
			"jobs/" + jobID: failed,
			"jobs/usage": jobview.Summary{
				Folder: "/var/lib/jobs", States: map[string]int64{"dead": 1, "running": 1},
				Routes: []jobview.Route{{Name: "reports", Running: 1, Streaming: 1}},
			},
		},
	}
}

// The page of jobs has all numbers without JavaScript.
func TestPageOfJobs(t *testing.T) {
	bubble(t, withJobs(), func(t *testing.T, page *statuspage.Page) {
		if text := get(t, page, "").Body.String(); !strings.Contains(text, `href="?jobs"`) || strings.Contains(text, noTabs) {
			t.Error("the page of pools has no link to the jobs")
		}
		text := get(t, page, "?jobs&state=dead").Body.String()
		for _, want := range []string{
			"no configuration has this route", "Dead letters", "attempts used up", "POST example.com/&lt;b&gt;report", `href="?job=` + jobID + `"`,
			"40 %, page 2", "2.0 KiB", `href="?jobs&amp;after=` + jobID + `&amp;state=dead"`, "/var/lib/jobs",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the page has no %q", want)
			}
		}
		if strings.Contains(text, "retry "+jobID) {
			t.Error("there is a button, and actions are off")
		}
		text = get(t, page, "?job="+jobID).Body.String()
		for _, want := range []string{"not sent: dial", "3 / 3", jobID} {
			if !strings.Contains(text, want) {
				t.Errorf("the page of a job has no %q", want)
			}
		}
		if text := get(t, page, "?job=1").Body.String(); !strings.Contains(text, "nothing at jobs/1") {
			t.Error("the page of an unknown job has no error")
		}
	})
}

// noTabs begins the tabs of a document without jobs.
const noTabs = `class="tabs" aria-label="Pages" hidden`

// A page that is open shows the tab of jobs when a configuration with jobs comes.
func TestTheTabOfJobsComesAndGoes(t *testing.T) {
	s := &source{}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		if text := get(t, page, "").Body.String(); !strings.Contains(text, noTabs) {
			t.Error("there are tabs without jobs")
		}
		v := watch(t, page, "")
		for _, jobs := range []bool{false, true, false} {
			s.set(func() { s.change = func(s *admin.Status) { s.Jobs = jobs } })
			pass(1500 * time.Millisecond)
			if got := string(v.last(t, "tabs")); got != strconv.FormatBool(jobs) {
				t.Errorf("tabs: %s, want %v", got, jobs)
			}
		}
		end(v)
	})
}

// Viewers of jobs get the changes of their jobs.
func TestStreamOfJobs(t *testing.T) {
	s := withJobs()
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		list, one, pools := watch(t, page, "&jobs"), watch(t, page, "&job="+jobID), watch(t, page, "")
		pass(2500 * time.Millisecond)
		s.set(func() {
			job := s.paths["jobs/"+jobID].(jobview.Job)
			job.State, job.Ended = "queued", time.Time{}
			s.paths["jobs/"+jobID] = job
		})
		pass(time.Second)
		var rows, detail jobpage.Page
		if err := json.Unmarshal(list.last(t, "jobs"), &rows); err != nil || len(rows.Rows) != 2 || rows.Detail != nil || rows.Rows[1].State != "dead" || !rows.Rows[1].Retry {
			t.Errorf("got %+v, %v", rows, err)
		}
		if err := json.Unmarshal(one.last(t, "jobs"), &detail); err != nil || detail.Detail == nil || detail.Detail.Row.State != "queued" || !detail.Detail.Row.Cancel {
			t.Errorf("got %+v, %v", detail, err)
		}
		if pools.last(t, "jobs") != nil || list.last(t, "overview") != nil {
			t.Error("a viewer gets what its page does not show")
		}
		end(list, one, pools)
	})
}

// Operators act on jobs by their whole ID, and see the job after it.
func TestActionsOnJobs(t *testing.T) {
	t.Parallel()
	s := withJobs()
	page := statuspage.New(statuspage.NewHub(s), statuspage.Options{Actions: true})
	defer page.Close()
	_, token, _ := strings.Cut(get(t, page, "?jobs").Body.String(), `name="token" value="`)
	token, _, _ = strings.Cut(token, `"`)
	for action, want := range map[string]string{
		"retry " + jobID:      "POST jobs/" + jobID + "/retry null",
		"cancel-job " + jobID: "POST jobs/" + jobID + "/cancel null",
	} {
		r := httptest.NewRequest(http.MethodPost, "http://status.test/?jobs", strings.NewReader(url.Values{"token": {token}, "action": {action}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		w := httptest.NewRecorder()
		if err := page.ServeHTTP(w, r); err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "?job="+jobID {
			t.Errorf("%s: got %d %s %s", action, w.Code, w.Header().Get("Location"), w.Body)
		}
		if last := s.done[len(s.done)-1]; last != want {
			t.Errorf("did %s, want %s", last, want)
		}
	}
}
