package resource

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestShowsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Running, func(j *fakeJob) {
			j.Attempt = 2
			j.Attempts = []jobs.AttemptRecord{
				{Generation: 1, Number: 1, Began: time.Now(), Ended: time.Now(), Class: jobs.NotSent, Reason: "dial"},
				{Generation: 1, Number: 2, Began: time.Now()},
			}
			j.Progress = jobs.Progress{Percent: 42, Message: "half", At: time.Now()}
			j.Hook = &jobs.Hook{URL: "https://hook.example/secret", Secret: "main"}
		})
		w := s.do(t, "GET", jobPath(id, ""))
		mustBe(t, w, 200, "")
		got := object(t, w.Body.Bytes())
		if got["state"] != "running" || got["attempt"] != 2.0 || len(got["attempts"].([]any)) != 2 || got["progress"].(map[string]any)["percent"] != 42.0 {
			t.Errorf("got %v", got)
		}
		links := got["links"].(map[string]any)
		if links["self"] != jobPath(id, "") || links["cancel"] != jobPath(id, "cancel") || links["retry"] != nil {
			t.Errorf("links %v", links)
		}
		if strings.Contains(w.Body.String(), "hook.example") || strings.Contains(w.Body.String(), "main") {
			t.Error("shows the webhook's URL or secret")
		}
		for field, want := range map[string]string{
			"Etag": `"1-1"`, "Retry-After": "1", "Cache-Control": "no-store", "Content-Type": "application/json",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Offload-Job-State": "running", "Offload-Job-Id": id.String(),
		} {
			if got := w.Header().Get(field); got != want {
				t.Errorf("%s: %q, want %q", field, got, want)
			}
		}
		head := s.do(t, "HEAD", jobPath(id, ""))
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
			t.Errorf("HEAD: %d %v %s", head.Code, head.Header(), head.Body)
		}
	})
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Queued)
	for condition, want := range map[string]int{`"1-1"`: 304, `W/"1-1"`: 304, "*": 304, `"0-0", "1-1"`: 304, `"1-2"`: 200, "1-1": 200} {
		if w := s.do(t, "GET", jobPath(id, ""), "If-None-Match", condition); w.Code != want || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, want %d", condition, w.Code, want)
		}
	}
}

func TestRetryAfterFollowsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		waits := s.add(jobs.RetryWait, func(j *fakeJob) { j.NotBefore = time.Now().Add(7 * time.Second) })
		old := s.add(jobs.Running, func(j *fakeJob) { j.Created = time.Now().Add(-time.Hour) })
		ended := s.add(jobs.Dead)
		for id, want := range map[jobs.ID]string{waits: "7", old: "30", ended: ""} {
			if got := s.do(t, "GET", jobPath(id, "")).Header().Get("Retry-After"); got != want {
				t.Errorf("Retry-After %q, want %q", got, want)
			}
		}
	})
}

// A request that waits is answered as soon as the job has changed, or ended without a
// condition, or after its time.
func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		for name, tt := range map[string]struct {
			fields []string
			status int
			took   time.Duration
		}{
			"a change":             {[]string{"Prefer", "wait=30", "If-None-Match", `"1-1"`}, 200, 3 * time.Second},
			"a change before":      {[]string{"Prefer", "wait=30", "If-None-Match", `"0-9"`}, 200, 0},
			"no change in time":    {[]string{"Prefer", "wait=2", "If-None-Match", `"1-1"`}, 304, 2 * time.Second},
			"the end":              {[]string{"Prefer", "wait=30"}, 200, 5 * time.Second},
			"no end in time":       {[]string{"Prefer", "wait=4"}, 200, 4 * time.Second},
			"no wait":              {nil, 200, 0},
			"a wait of no seconds": {[]string{"Prefer", "wait=0"}, 200, 0},
		} {
			id := s.add(jobs.Queued)
			time.AfterFunc(3*time.Second, func() { s.change(id, to(jobs.Running)) })
			time.AfterFunc(5*time.Second, func() { s.change(id, responds(200), ends) })
			began := time.Now()
			w := s.do(t, "GET", jobPath(id, ""), tt.fields...)
			if w.Code != tt.status || time.Since(began) != tt.took {
				t.Errorf("%s: %d after %s, want %d after %s", name, w.Code, time.Since(began), tt.status, tt.took)
			}
			if w.Header().Get("Vary") != "Prefer" {
				t.Errorf("%s: no Vary", name)
			}
		}
	})
}

func TestLongPollIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t, func(o *Options) { o.Limits.Waits, o.MaxWait = 1, 10*time.Second })
		id := s.add(jobs.Queued)
		began := time.Now()
		first := make(chan time.Duration)
		go func() {
			w := s.do(t, "GET", jobPath(id, ""), "Prefer", "wait=60")
			if got := w.Header().Get("Preference-Applied"); w.Code != 200 || got != "wait=10" {
				t.Errorf("%d, Preference-Applied %q", w.Code, got)
			}
			first <- time.Since(began)
		}()
		synctest.Wait()
		w := s.do(t, "GET", jobPath(id, ""), "Prefer", "wait=60")
		mustBe(t, w, 429, "too_many_readers")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if took := <-first; took != 10*time.Second {
			t.Errorf("took %s", took)
		}
		mustBe(t, s.do(t, "GET", jobPath(id, ""), "Prefer", "wait=1"), 200, "")
	})
}

// The end of the configuration answers requests that wait.
func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued)
		began := time.Now()
		time.AfterFunc(time.Second, s.Close)
		mustBe(t, s.do(t, "GET", jobPath(id, ""), "Prefer", "wait=60"), 200, "")
		if time.Since(began) != time.Second {
			t.Errorf("took %s", time.Since(began))
		}
	})
}

func TestRedirectsToTheResult(t *testing.T) {
	t.Parallel()
	s := site(t, func(o *Options) { o.Redirect = true })
	done, runs, dead := s.add(jobs.Queued, responds(200), ends), s.add(jobs.Running), s.add(jobs.Dead)
	w := s.do(t, "GET", jobPath(done, ""))
	mustBe(t, w, 303, "")
	if got := w.Header().Get("Location"); got != jobPath(done, "result") {
		t.Errorf("Location %q", got)
	}
	mustBe(t, s.do(t, "GET", jobPath(runs, "")), 200, "")
	mustBe(t, s.do(t, "GET", jobPath(dead, "")), 200, "")
}

// A path without a job, and a job of another client, look the same.
func TestUnknownJobs(t *testing.T) {
	t.Parallel()
	s := site(t)
	ann := s.add(jobs.Queued, ownedBy(identity(t, "Bearer ann")))
	free := s.add(jobs.Queued)
	mustBe(t, s.do(t, "GET", jobPath(ann, ""), "Authorization", "Bearer ann"), 200, "")
	mustBe(t, s.do(t, "GET", jobPath(free, ""), "Authorization", "Bearer bob"), 200, "")
	var bodies []string
	for _, path := range []string{
		jobPath(ann, ""), jobPath(ann, "result"), jobPath(ann, "events"), jobPath(jobs.NewID(time.Now()), ""),
		"/jobs/", "/jobs", "/", "/jobs/1", "/jobs/1/result", jobPath(ann, "other"), jobPath(ann, "result") + "/", jobPath(ann, "") + "/", strings.ToUpper(jobPath(free, "")),
	} {
		w := s.do(t, "GET", path, "Authorization", "Bearer bob")
		mustBe(t, w, 404, "unknown_job")
		bodies = append(bodies, w.Body.String())
	}
	if slices.Sort(bodies); bodies[0] != bodies[len(bodies)-1] {
		t.Errorf("different answers: %q", slices.Compact(bodies))
	}
	for _, part := range []string{"cancel", "retry", "links"} {
		mustBe(t, s.do(t, "POST", jobPath(ann, part), "Authorization", "Bearer bob"), 404, "unknown_job")
	}
	mustBe(t, s.do(t, "DELETE", jobPath(ann, "")), 404, "unknown_job")
}

func TestMethods(t *testing.T) {
	t.Parallel()
	s := site(t, func(o *Options) { o.List = true })
	id := s.add(jobs.Queued)
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", jobPath(id, ""), "DELETE, GET, HEAD, OPTIONS"},
		{"PUT", jobPath(id, "result"), "GET, HEAD, OPTIONS"},
		{"DELETE", jobPath(id, "events"), "GET, HEAD, OPTIONS"},
		{"GET", jobPath(id, "cancel"), "OPTIONS, POST"},
		{"HEAD", jobPath(id, "retry"), "OPTIONS, POST"},
		{"POST", "/jobs/", "GET, HEAD, OPTIONS"},
	} {
		w := s.do(t, tt.method, tt.path)
		mustBe(t, w, 405, "bad_method")
		if got := w.Header().Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
		if w := s.do(t, "OPTIONS", tt.path); w.Code != 204 || w.Header().Get("Allow") != tt.allow {
			t.Errorf("OPTIONS %s: %d %q", tt.path, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Queued)
	for err, want := range map[error]int{jobs.ErrBroken: 503, jobs.ErrEngineClosed: 503, jobs.ErrStale: 500} {
		s.err = err
		if w := s.do(t, "GET", jobPath(id, "")); w.Code != want {
			t.Errorf("%v: %d, want %d", err, w.Code, want)
		}
	}
}

func TestScriptsCanReadFields(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Queued)
	h := s.do(t, "GET", jobPath(id, ""), "Origin", "https://app.example").Header()
	got := ""
	for name, values := range h {
		if strings.EqualFold(name, "Access-Control-Expose-Headers") { // in lower case, see package cors
			got += strings.Join(values, "")
		}
	}
	if !strings.Contains(got, "ETag") || !strings.Contains(got, "Retry-After") {
		t.Errorf("exposes %q", got)
	}
}
