package resource

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestDelete(t *testing.T) {
	t.Parallel()
	s := site(t)
	queued, runs, done := s.add(jobs.Queued), s.add(jobs.Running), s.add(jobs.Queued, responds(200), ends)
	mustBe(t, s.do(t, "DELETE", jobPath(queued, "")), 204, "")
	if v, err := s.Get(t.Context(), queued); err != nil || v.State != jobs.Cancelled || v.Cancel.By != "owner" {
		t.Errorf("a queued job is %v, %v", v.State, err)
	}
	for range 2 {
		w := s.do(t, "DELETE", jobPath(runs, ""))
		mustBe(t, w, 202, "")
		if got := object(t, w.Body.Bytes()); got["cancel_requested"] == nil || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %v", got)
		}
	}
	mustBe(t, s.do(t, "DELETE", jobPath(done, "")), 204, "")
	mustBe(t, s.do(t, "DELETE", jobPath(done, "")), 404, "unknown_job")
}

// A job that ends before it is cancelled is not forgotten: the client did not know its end.
func TestDeleteOfAJobThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Queued, responds(200))
	s.cancels = ends
	w := s.do(t, "DELETE", jobPath(id, ""))
	mustBe(t, w, 200, "")
	if object(t, w.Body.Bytes())["state"] != "succeeded" {
		t.Errorf("got %s", w.Body)
	}
	mustBe(t, s.do(t, "GET", jobPath(id, "")), 200, "")
}

func TestChangesOfKnownVersionsOnly(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Dead)
	for _, change := range []struct{ method, part string }{{"DELETE", ""}, {"POST", "cancel"}, {"POST", "retry"}} {
		w := s.do(t, change.method, jobPath(id, change.part), "If-Match", `"1-7"`)
		mustBe(t, w, 412, "changed")
		if w.Header().Get("ETag") != `"1-1"` {
			t.Errorf("ETag %q", w.Header().Get("ETag"))
		}
	}
	mustBe(t, s.do(t, "DELETE", jobPath(id, ""), "If-Match", `"1-1"`), 204, "")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := site(t)
	queued, runs, dead := s.add(jobs.Queued), s.add(jobs.Running), s.add(jobs.Dead)
	for range 2 { // it is never forgotten
		w := s.do(t, "POST", jobPath(queued, "cancel"))
		mustBe(t, w, 200, "")
		if object(t, w.Body.Bytes())["state"] != "cancelled" {
			t.Errorf("got %s", w.Body)
		}
	}
	mustBe(t, s.do(t, "POST", jobPath(runs, "cancel")), 202, "")
	mustBe(t, s.do(t, "POST", jobPath(dead, "cancel")), 409, "ended")
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s := site(t)
	for _, state := range []jobs.State{jobs.Failed, jobs.Dead, jobs.Cancelled, jobs.Expired} {
		id := s.add(state)
		w := s.do(t, "POST", jobPath(id, "retry"))
		mustBe(t, w, 202, "")
		if got := object(t, w.Body.Bytes()); got["generation"] != 2.0 || got["state"] != "queued" || w.Header().Get("Location") != jobPath(id, "") {
			t.Errorf("%s: %v %v", state, got, w.Header())
		}
		mustBe(t, s.do(t, "POST", jobPath(id, "retry")), 409, "not_ended")
	}
	mustBe(t, s.do(t, "POST", jobPath(s.add(jobs.Queued, responds(200), ends), "retry")), 409, "ended")
}

func TestList(t *testing.T) {
	t.Parallel()
	s := site(t, func(o *Options) { o.List = true })
	ann := identity(t, "Bearer ann")
	var ids []jobs.ID
	for i := range 5 {
		state := jobs.Queued
		if i%2 == 1 {
			state = jobs.Dead
		}
		ids = append(ids, s.add(state, ownedBy(ann), func(j *fakeJob) { j.Created = time.Now() }))
	}
	s.add(jobs.Queued)
	s.add(jobs.Queued, ownedBy(identity(t, "Bearer bob")))
	mustBe(t, s.do(t, "GET", "/jobs/"), 403, "no_identity")
	got := make(map[string]bool)
	pages := 0
	for next := "/jobs/?limit=2"; next != ""; pages++ {
		w := s.do(t, "GET", next, "Authorization", "Bearer ann")
		mustBe(t, w, 200, "")
		page := object(t, w.Body.Bytes())
		for _, j := range page["jobs"].([]any) {
			got[j.(map[string]any)["id"].(string)] = true
		}
		next, _ = page["next"].(string)
		if link := w.Header().Get("Link"); (next != "" || link != "") && link != "<"+next+`>; rel="next"` {
			t.Errorf("Link %q, next %q", link, next)
		}
	}
	if pages != 3 || len(got) != 5 || !got[ids[0].String()] {
		t.Errorf("%d pages with %d jobs", pages, len(got))
	}
	w := s.do(t, "GET", "/jobs/?state=dead&state=failed", "Authorization", "Bearer ann")
	if n := len(object(t, w.Body.Bytes())["jobs"].([]any)); n != 2 {
		t.Errorf("%d dead jobs", n)
	}
	for _, query := range []string{"state=x", "limit=0", "limit=x", "cursor=x"} {
		mustBe(t, s.do(t, "GET", "/jobs/?"+query, "Authorization", "Bearer ann"), 400, "bad_request")
	}
	mustBe(t, site(t).do(t, "GET", "/jobs/", "Authorization", "Bearer ann"), 404, "unknown_job")
}

// The identity that counts for a route finds the jobs of that route.
func TestListOfARouteWithOwners(t *testing.T) {
	t.Parallel()
	s := site(t, func(o *Options) { o.List = true })
	ann := identityBy(t, owners["named"], "X-User", "ann")
	id := s.add(jobs.Queued, ownedBy(ann), func(j *fakeJob) { j.Route = "named" })
	w := s.do(t, "GET", "/jobs/?route=named", "X-User", "ann")
	mustBe(t, w, 200, "")
	if list := object(t, w.Body.Bytes())["jobs"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != id.String() {
		t.Errorf("ann's list is %v", list)
	}
	w = s.do(t, "GET", "/jobs/?route=named", "X-User", "bob")
	mustBe(t, w, 200, "")
	if list := object(t, w.Body.Bytes())["jobs"].([]any); len(list) != 0 {
		t.Errorf("bob's list is %v", list)
	}
	mustBe(t, s.do(t, "GET", "/jobs/", "X-User", "ann"), 403, "no_identity")
}

// A signed link grants one part of one job for its time, and no change.
func TestSignedLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued, ownedBy(identity(t, "Bearer ann")), responds(200), writes("hello"), ends)
		other := s.add(jobs.Queued, ownedBy(identity(t, "Bearer ann")), responds(200), ends)
		w := s.do(t, "POST", jobPath(id, "links")+"?lifetime=60s", "Authorization", "Bearer ann")
		mustBe(t, w, 200, "")
		answer := object(t, w.Body.Bytes())
		links := answer["links"].(map[string]any)
		if until, err := time.Parse(time.RFC3339, answer["expires"].(string)); err != nil || time.Until(until) > time.Minute || time.Until(until) < 58*time.Second {
			t.Errorf("expires %v", answer["expires"])
		}
		result, self := links["result"].(string), links["self"].(string)
		if w := s.do(t, "GET", result); w.Code != 200 || w.Body.String() != "hello" {
			t.Errorf("the link of the result: %d %s", w.Code, w.Body)
		}
		mustBe(t, s.do(t, "GET", self), 200, "")
		mustBe(t, s.do(t, "GET", links["events"].(string)), 200, "")
		token := result[strings.Index(result, "?"):]
		for _, path := range []string{
			jobPath(id, "") + token, jobPath(id, "events") + token, jobPath(other, "result") + token,
			result[:len(result)-1] + "_", result + "x", jobPath(id, "result") + "?token=", jobPath(id, "result") + "?token=AAAA",
		} {
			mustBe(t, s.do(t, "GET", path), 404, "unknown_job")
			mustBe(t, s.do(t, "GET", path, "Authorization", "Bearer ann"), 404, "unknown_job")
		}
		mustBe(t, s.do(t, "DELETE", self), 404, "unknown_job")
		for _, part := range []string{"cancel", "retry", "links"} {
			mustBe(t, s.do(t, "POST", jobPath(id, part)+token), 404, "unknown_job")
		}
		<-time.After(time.Minute)
		mustBe(t, s.do(t, "GET", result), 404, "unknown_job")
	})
}

func TestLinksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued)
		for _, lifetime := range []string{"", "?lifetime=1h"} {
			answer := object(t, s.do(t, "POST", jobPath(id, "links")+lifetime).Body.Bytes())
			if until, _ := time.Parse(time.RFC3339, answer["expires"].(string)); time.Until(until) > DefaultLinkLifetime {
				t.Errorf("%s: expires %v", lifetime, answer["expires"])
			}
		}
		for _, bad := range []string{"x", "0s", "-1s", "10"} {
			mustBe(t, s.do(t, "POST", jobPath(id, "links")+"?lifetime="+url.QueryEscape(bad)), 400, "bad_request")
		}
		off := site(t, func(o *Options) { o.LinkLifetime = 0 })
		mustBe(t, off.do(t, "POST", jobPath(off.add(jobs.Queued), "links")), 403, "no_links")
	})
}
