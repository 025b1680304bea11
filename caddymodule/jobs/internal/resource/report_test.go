package resource

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// An upstream reports with the URL of its attempt, without the identity of the job's owner.
func TestUpstreamsReportTheirProgress(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Running, ownedBy(identity(t, "ann")))
	report := func(path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(body))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	var got []jobs.Progress
	token, remove := s.options.Reports.Add(id, func(p jobs.Progress) { got = append(got, p) })
	path := progress.URL("/jobs/", id, token)
	mustBe(t, report(path, `{"percent": 42, "message": "half"}`), 204, "")
	if len(got) != 1 || got[0].Percent != 42 || got[0].Message != "half" {
		t.Errorf("the attempt got %+v", got)
	}
	mustBe(t, report(path, `42`), 400, "bad_request")
	mustBe(t, report(path+"x", `{"percent": 43}`), 404, "unknown_job")
	mustBe(t, report(jobPath(id, "progress"), `{"percent": 43}`), 404, "unknown_job")
	mustBe(t, s.do(t, "GET", path), 405, "")
	remove()
	mustBe(t, report(path, `{"percent": 43}`), 404, "unknown_job")
	if len(got) != 1 {
		t.Errorf("the attempt got %+v", got)
	}
}
