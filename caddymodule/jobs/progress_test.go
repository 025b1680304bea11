package jobs_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// progressIs waits until the job has a progress.
func progressIs(t *testing.T, id jobs.ID, percent float64, message string) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		view, err := service(t).Get(t.Context(), id)
		return err == nil && view.Progress.Percent == percent && view.Progress.Message == message
	})
}

// reporting is an upstream that reports in 1xx responses, more of them than a client would get.
func reporting(u *upstream, more <-chan struct{}) {
	u.answer = func(w http.ResponseWriter, r *http.Request) {
		for i := range 51 {
			w.Header().Set("Offload-Progress", fmt.Sprintf(`%d; msg="page %d"`, i, i))
			w.WriteHeader(http.StatusProcessing)
		}
		w.Header().Del("Offload-Progress")
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Offload-Progress", `75`)
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del("Offload-Progress")
		select {
		case <-more:
		case <-r.Context().Done():
		}
	}
}

// The reports of a run belong to its job, also those from before it was one.
func TestInformationalResponsesAreProgress(t *testing.T) {
	for name, preference := range map[string]string{
		"stored first": "respond-async, wait=0",
		"late":         "respond-async",
	} {
		t.Run(name, func(t *testing.T) {
			u, more := newUpstream(), make(chan struct{})
			reporting(u, more)
			c := clientOf(t, site.Serve(t, u, route(short)))
			res, body := c.post("/", preference)
			id := job(t, res, body)
			progressIs(t, id, 50, "page 50")
			more <- struct{}{}
			progressIs(t, id, 75, "")
			more <- struct{}{}
			view := ended(t, id)
			for _, f := range view.Response.Header {
				if f.Name == "Offload-Progress" {
					t.Errorf("the result has the field %v", f)
				}
			}
		})
	}
}

// An upstream that cannot send 1xx responses gets a URL. It is that of the operator, whatever
// the client sends.
func TestUpstreamsGetAURLForTheirProgress(t *testing.T) {
	for option, prefix := range map[string]string{
		"":                                   "",
		"progress_url http://127.0.0.1:9":    "http://127.0.0.1:9/.jobs/",
		"progress_url https://inside.test/a": "https://inside.test/a/",
	} {
		for _, preference := range []string{"respond-async, wait=0", "respond-async"} {
			u := newUpstream()
			c := clientOf(t, site.Serve(t, u, route(short, option)))
			res, body := c.post("/slow", preference, "Offload-Progress-Url", "http://client.test/")
			id := job(t, res, body)
			testkit.Eventually(t, func() bool { return u.runs() == 1 })
			got := u.request(0).Header.Get("Offload-Progress-Url")
			if want := prefix + id.String() + "/progress?token="; (prefix == "" && got != "") || (prefix != "" && !strings.HasPrefix(got, want)) {
				t.Errorf("%s, %s: the URL is '%s', want '%s'", option, preference, got, want)
			}
			u.gate <- struct{}{}
			ended(t, id)
		}
	}
}
