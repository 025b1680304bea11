//go:build integration

package browser

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// jobsBody is that of a site whose jobs run for an hour, unless an operator cancels them.
const jobsBody = `
offload_status /status* {
	actions
}
offload /7/* {
	name seven
	concurrency 1
	jobs exports {
		accept always
		wait off
		handle {
			reverse_proxy UPSTREAM
		}
	}
}
reverse_proxy UPSTREAM
`

// newJobsStage is a site that has accepted two jobs.
func newJobsStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, jobsBody)
	for range 2 {
		res, err := s.c.Post(s.origin()+"/7/report", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("got %s", res.Status)
		}
	}
	return s
}

// The tabs appear on a page that is open when a configuration with jobs comes, and go with it.
func TestTheTabOfJobsAppears(t *testing.T) {
	s := newStage(t, body)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status")
	tab.do(chromedp.WaitNotVisible(chromedp.CSS(".tabs")))
	s.Load(jobsBody)
	tab.do(chromedp.WaitVisible(chromedp.CSS(".tabs")))
	s.Load(body)
	tab.do(chromedp.WaitNotVisible(chromedp.CSS(".tabs")))
}

// An operator finds a job, cancels it and runs it again, while the page stays live.
func TestThePageOfJobsIsLive(t *testing.T) {
	s := newJobsStage(t)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.open("/status")
	tab.follow(`.tabs a[href="?jobs"]`)
	tab.until("#job-rows", "running")
	tab.until("#job-rows", "waits for permit")
	tab.until(`[data-rows="routes"]`, "exports")
	tab.checkAccess("jobs")
	tab.picture(t.ArtifactDir(), "jobs", true)
	tab.follow(`#job-rows tr:last-child a`)
	tab.until("h1", "running")
	tab.checkAccess("job")
	tab.do(chromedp.Click(chromedp.CSS(`button[data-may="cancel"]`))) // confirmed
	tab.until("#message", "Done: cancel-job")
	tab.until("h1", "cancelled")
	tab.until(`[data-rows="attempts"]`, "aborted")
	tab.do(chromedp.Click(chromedp.CSS(`button[data-may="retry"]`)))
	tab.until("#message", "Done: retry")
	tab.until(`[data-facts="job"]`, "exports")
	tab.until("h1", "queued") // the other job has the permit now
}

func TestThePageOfJobsWorksWithoutJavaScript(t *testing.T) {
	s := newJobsStage(t)
	tab := openTab(t, s.origin(), desktop, "light")
	tab.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	tab.do(chromedp.Navigate(s.origin() + "/status?jobs"))
	text := run(tab, chromedp.Text(chromedp.CSS("#job-rows")))
	if !strings.Contains(text, "/7/report") || !strings.Contains(text, "Cancel") {
		t.Errorf("got %s", text)
	}
}
